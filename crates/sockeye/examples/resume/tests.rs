//! The client, with a server that ends each connection after two messages, in one simulated network.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::sim::{Network, seeds};
use sockeye_testing::turns::{Together, Turns};

use super::*;

/// Sends two messages from where the client asks, then closes.
struct Impatient {
    asked: Rc<RefCell<Vec<u64>>>,
}

impl Handler for Impatient {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        let from = message.as_text().and_then(|text| text.strip_prefix("from ")).expect("what the client asks");
        let from: u64 = from.parse().expect("a number");
        self.asked.borrow_mut().push(from);
        for number in from..from + 2 {
            cx.push(format!("{number} text")).expect("an empty outbox has room");
        }
        cx.close(CloseCode::GOING_AWAY);
        Ok(())
    }
}

#[test]
fn after_each_loss_it_asks_for_what_follows_the_last_number() {
    for seed in seeds(50) {
        let network = Network::new(seed);
        let asked = Rc::new(RefCell::new(Vec::new()));
        let server = messages::with("server", Impatient { asked: asked.clone() });
        let server = Service::builder().protocol(server).listen("10.0.0.1:80").build_with(network.sys()).unwrap();
        let mut builder = Service::builder();
        let feed = builder.add_protocol(messages::with("feed", Feed { last: 0 }));
        let mut client = builder.build_with(network.sys()).unwrap();
        let connect = Connect::new("ws://10.0.0.1/").unwrap().reconnect(Reconnect::default()).unwrap();
        client.control().protocol(feed).unwrap().connect(connect);
        let mut both = Together { network, services: [server, client] };
        let seen = asked.clone();
        let (done, _) = both.turn_until(Duration::from_secs(600), |_| seen.borrow().len() == 5);
        assert!(done, "seed {seed}: it asked for {:?} only", asked.borrow());
        assert_eq!(*asked.borrow(), [1, 3, 5, 7, 9], "seed {seed}");
    }
}
