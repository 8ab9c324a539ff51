//! What programs print: `Debug` of what callbacks borrow, and the end of a connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::sim::{Faults, Network};
use sockeye::{Close, CloseCode, Closed, ClosedCx, Cx, Fragment, Handshake, Protocol, Service, Tx};
use sockeye_testing::server::upgrade;

type Shown = Rc<RefCell<Vec<String>>>;

/// Prints what it is lent.
struct Prints(Shown);

impl Protocol for Prints {
    type Session = ();

    fn name(&self) -> &'static str {
        "prints"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        self.0.borrow_mut().push(format!("{cx:?}"));
        self.0.borrow_mut().push(format!("{:?}", cx.own_protocol()));
        let id = cx.id();
        self.0.borrow_mut().push(format!("{:?}", cx.connection(id)));
        cx.request_writable();
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), tx: Tx<'_>) -> Result<(), Close> {
        self.0.borrow_mut().push(format!("{tx:?}"));
        if let Some(permission) = tx.idle() {
            let begun = permission.begin_text("a");
            self.0.borrow_mut().push(format!("{begun:?}"));
            if let Some(fragments) = begun.more() {
                self.0.borrow_mut().push(format!("{:?}", fragments.finish("b")));
            }
        }
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, (): (), closed: Closed) {
        self.0.borrow_mut().push(format!("{cx:?}"));
        self.0.borrow_mut().push(closed.to_string());
    }
}

/// Prints the context of the whole-message layer.
struct PrintsMessages(Shown);

impl Handler for PrintsMessages {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        self.0.borrow_mut().push(format!("{cx:?}"));
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
        Ok(())
    }
}

#[test]
fn what_callbacks_borrow_says_which_connection_it_is_of() {
    let network = Network::with_faults(1, Faults::none());
    let shown = Shown::default();
    let whole = messages::with("whole", PrintsMessages(Rc::clone(&shown)));
    assert_eq!(format!("{whole:?}"), "Messages { name: \"whole\", outbox_bytes: 17825792, .. }");
    let builder = Service::builder().protocol(Prints(Rc::clone(&shown))).protocol(whole).listen("127.0.0.1:80");
    let mut service = builder.build_with(network.sys()).unwrap();
    let mut turns = || {
        for _ in 0..3 {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
    };
    let address = sockeye::sys::Address::Ip(([127, 0, 0, 1], 80).into());

    let peer = network.connect(&address).unwrap();
    peer.send(&upgrade(""));
    turns();
    // 1001, "bye".
    peer.send(b"\x88\x85\0\0\0\0\x03\xe9bye");
    turns();
    let lines = shown.take();
    let id = lines[2].strip_prefix("Ok(ConnectionMut { id: ").and_then(|rest| rest.strip_suffix(", .. })")).unwrap();
    let peer_address = format!("{:?}", peer.address());
    assert_eq!(
        lines,
        [
            format!("Cx {{ id: {id}, peer: {peer_address}, .. }}"),
            "ProtocolMut { name: \"prints\", .. }".to_owned(),
            format!("Ok(ConnectionMut {{ id: {id}, .. }})"),
            "Idle(Writable { .. })".to_owned(),
            "AfterFragment { .. }".to_owned(),
            "AfterSend { .. }".to_owned(),
            format!("ClosedCx {{ id: {id}, peer: {peer_address}, .. }}"),
            "closed by the peer: 1001 bye".to_owned(),
        ]
    );

    let peer = network.connect(&address).unwrap();
    peer.send(&upgrade("Sec-WebSocket-Protocol: whole\r\n"));
    turns();
    let [line] = <[String; 1]>::try_from(shown.take()).unwrap();
    assert!(line.starts_with("MessageCx { cx: Cx { id: "), "{line}");
    assert!(line.ends_with("outbox: Outbox { messages: 0, bytes: 0, .. } }"), "{line}");
    let control = format!("{:?}", service.control());
    assert!(control.starts_with("Control { service: Service { local_addresses: ["), "{control}");
    assert_eq!(CloseCode::try_from(4999), Ok(CloseCode::new(4999).unwrap()));
}
