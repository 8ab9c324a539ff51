//! A Close frame with any payload: legal codes and reasons are reported and echoed, and anything
//! else is a violation.

use sockeye_proto::close::CloseCode;
use sockeye_proto::conn::{HEADROOM, Input, State};
use sockeye_proto::event::Event;
use sockeye_proto::wire::Role;

pub fn check(data: &[u8]) {
    let payload = &data[..data.len().min(125)];
    let length = u8::try_from(payload.len()).expect("at most 125");
    // A masking key of zeros leaves the payload unchanged.
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(&[0x88, 0x80 | length, 0, 0, 0, 0]);
    buffer.extend_from_slice(payload);

    let mut connection = crate::frames::connection(Role::Server);
    let mut input = Input::new(&mut buffer, HEADROOM);
    let result = connection.receive(&mut input);
    let expected = expected(payload);
    match result {
        Ok(Some(Event::Close(frame))) => {
            let (code, reason) = expected.expect("an illegal payload was accepted");
            assert_eq!((frame.code, frame.reason), (code, reason));
        }
        Err(_) => assert_eq!(expected, None, "a legal payload was refused"),
        other => panic!("neither a Close frame nor a violation: {other:?}"),
    }
    let mut answer = Vec::new();
    connection.transmit(&mut answer, &mut || unreachable!("a server does not mask"));
    assert_eq!(answer[0], 0x88, "the answer is a Close frame");
    assert_eq!(usize::from(answer[1]), answer.len() - 2, "the length is right");
    if let Some((code, _)) = expected {
        assert_eq!(answer.get(2..4).map(|code| u16::from_be_bytes([code[0], code[1]])), code, "the code is echoed");
        assert_eq!(connection.state(), State::Draining);
    }
}

/// The rules of RFC 6455 sections 5.5.1 and 7.4, independent of the implementation.
fn expected(payload: &[u8]) -> Option<(Option<u16>, &str)> {
    match payload {
        [] => Some((None, "")),
        [_] => None,
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            CloseCode::new(code)?;
            Some((Some(code), std::str::from_utf8(reason).ok()?))
        }
    }
}
