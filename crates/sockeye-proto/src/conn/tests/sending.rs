//! What may be sent when, and its form on the wire.

use super::*;
use crate::close::Close;
use crate::conn::{ControlPayload, PayloadTooLong, SendError};
use crate::message::encode;

#[test]
fn headers_use_the_shortest_length() {
    let mut server = open(Role::Server);
    for (len, expected) in [
        (0, &[0x82, 0][..]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 0xff, 0xff]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ((1 << 63) - 1, &[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let head = server.frame(Some(MessageKind::Binary), true, len, None).unwrap();
        assert_eq!(&*head, expected);
        let mut out = vec![7];
        head.append_to(&mut out);
        assert_eq!(out, [&[7], expected].concat());
    }
    assert_eq!(server.frame(Some(MessageKind::Binary), true, 1 << 63, None), Err(SendError::TooLong));
    let mut client = open(Role::Client);
    let head = client.frame(Some(MessageKind::Text), true, 300, Some(KEY)).unwrap();
    assert_eq!(&*head, [0x81, 0xfe, 1, 44, 0x37, 0xfa, 0x21, 0x3d]);
}

#[test]
fn fragments_are_sent_in_order_or_not_at_all() {
    let mut server = open(Role::Server);
    assert_eq!(server.frame(None, true, 0, None), Err(SendError::NotMidMessage));
    assert_eq!(server.frame(Some(MessageKind::Text), false, 1, None).unwrap()[0], 0x01);
    assert_eq!(server.mid_message(), Some(MessageKind::Text));
    assert_eq!(server.frame(Some(MessageKind::Text), true, 1, None), Err(SendError::MidMessage));
    assert_eq!(server.frame(None, false, 1, None).unwrap()[0], 0x00);
    assert_eq!(server.frame(None, true, 1, None).unwrap()[0], 0x80);
    assert_eq!(server.mid_message(), None);
    assert_eq!(server.frame(Some(MessageKind::Binary), true, 1, None).unwrap()[0], 0x82);
}

#[test]
fn clients_mask_and_servers_do_not() {
    assert_eq!(open(Role::Client).frame(Some(MessageKind::Text), true, 1, None), Err(SendError::MaskMissing));
    assert_eq!(open(Role::Server).frame(Some(MessageKind::Text), true, 1, Some(KEY)), Err(SendError::MaskForbidden));
}

#[test]
fn no_data_follows_our_close_frame() {
    for role in BOTH {
        let key = (role == Role::Client).then_some(KEY);
        let mut connection = open(role);
        assert!(connection.can_send());
        connection.close(Close::empty(), NOW);
        // Data may still go before the Close frame, and not after it.
        assert!(connection.frame(Some(MessageKind::Text), true, 1, key).is_ok());
        assert!(connection.transmit(&mut Vec::new(), &mut || KEY));
        assert!(!connection.can_send());
        assert_eq!(connection.frame(Some(MessageKind::Text), true, 1, key), Err(SendError::Closed));
        assert_eq!(connection.ping(ControlPayload::EMPTY), Err(SendError::Closed));
    }
}

#[test]
fn control_frames_are_sent_in_order_and_clients_mask_each_with_a_new_key() {
    let mut connection = open(Role::Client);
    let mut buffer = [&[0; HEADROOM][..], &frame(Role::Client, 0x89, b"theirs")].concat();
    connection.receive(&mut Input::new(&mut buffer, HEADROOM)).unwrap();
    connection.ping(ControlPayload::new(b"older").unwrap()).unwrap();
    connection.ping(ControlPayload::new(b"ours").unwrap()).unwrap();
    connection.close(Close::empty(), NOW);
    let (mut out, mut keys) = (Vec::new(), 0);
    let mut key = || {
        keys += 1;
        [keys; 4]
    };
    assert!(connection.transmit(&mut out, &mut key));
    assert!(!connection.transmit(&mut out, &mut key));
    let masked = |text: &[u8], key: u8| text.iter().map(|byte| byte ^ key).collect::<Vec<u8>>();
    let expected = [
        &[0x89, 0x84, 1, 1, 1, 1][..],
        &masked(b"ours", 1),
        &[0x8a, 0x86, 2, 2, 2, 2],
        &masked(b"theirs", 2),
        &[0x88, 0x80, 3, 3, 3, 3],
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn a_control_payload_has_at_most_125_bytes() {
    assert_eq!(ControlPayload::new(&[1; 126]), Err(PayloadTooLong));
    assert_eq!(ControlPayload::new(&[1; 125]).unwrap().as_bytes(), [1; 125]);
}

#[test]
fn the_other_end_receives_an_encoded_message() {
    for role in BOTH {
        let key = (role == Role::Client).then_some(KEY);
        let (mut connection, mut wire) = (open(role), Vec::new());
        encode::text(&mut connection, "κόσμε", &mut wire, key).unwrap();
        encode::binary(&mut connection, &[0xff; 200], &mut wire, key).unwrap();
        let log = check(!role, &wire);
        assert_eq!(log.received, [Received::Text("κόσμε".to_string()), Received::Binary(vec![0xff; 200])]);
        connection.close(Close::empty(), NOW);
        connection.transmit(&mut wire, &mut || KEY);
        assert_eq!(encode::text(&mut connection, "", &mut wire, key), Err(SendError::Closed));
    }
}
