//! The feed, with a peer that stops reading, in one simulated network.

use std::cell::RefCell;
use std::rc::Rc;

use sockeye::Connect;
use sockeye::sim::Network;
use sockeye_testing::turns::{Together, Turns};

use super::*;

/// Notes the versions that it receives, and reads only while it is told to.
struct Reader {
    versions: Rc<RefCell<Vec<u64>>>,
}

impl Handler for Reader {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        let version = message.as_text().and_then(|text| text.split(' ').next()).unwrap_or_default();
        self.versions.borrow_mut().push(version.parse().expect("a version"));
        Ok(())
    }
}

#[test]
fn a_peer_that_stops_reading_gets_the_newest_value_when_it_reads_again() {
    let network = Network::new(1);
    let feed = messages::with("feed", Feed { version: 1, price: 100.0 });
    let server = Service::builder().protocol(feed).listen("10.0.0.1:80").build_with(network.sys()).unwrap();
    let versions = Rc::new(RefCell::new(Vec::new()));
    let reader = messages::with("reader", Reader { versions: versions.clone() });
    let mut client = Service::builder().protocol(reader).build_with(network.sys()).unwrap();
    let connect = Connect::new("ws://10.0.0.1/").unwrap().subprotocol("feed").unwrap();
    let id = client.control().protocol_named("reader").unwrap().connect(connect);
    let mut both = Together { network, services: [server, client] };

    both.turn_for(Duration::from_secs(2));
    let read = versions.borrow().len();
    assert!(read > 100, "a peer that reads gets each value: {read} of 200");

    both.services[1].control().connection(id).unwrap().pause_reading();
    both.turn_for(Duration::from_secs(20));
    let paused = versions.borrow().len();
    both.services[1].control().connection(id).unwrap().resume_reading();
    let seen = versions.clone();
    let (newest, _) =
        both.turn_until(Duration::from_secs(2), |_| seen.borrow().last().is_some_and(|last| *last > 2200));
    assert!(newest, "the newest value arrives: {:?}", versions.borrow().last());
    let all = versions.borrow();
    assert!(all.is_sorted_by(|a, b| a < b), "no value comes twice, and none after a newer one");
    assert!(all.len() - paused < 2000, "of 2,000 values {} waited", all.len() - paused);
}
