//! Edges of a hub, each with as little around it as shows it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use sockeye::messages::{self, Messages};
use sockeye::protocol::ProtocolHandle;
use sockeye::raw::{Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable};
use sockeye::sim::{Faults, Network, Turn};
use sockeye::topics::{SlowReader, TopicOptions};
use sockeye::{Builder, Connect, Limits, Service};
use sockeye_hub::{Everybody, History, Hub, SUBPROTOCOL};

use crate::broker::{Broker, Lines, Store};
use crate::client::{At, Clients, Log, Member, Stage, subscribe};

/// A hub and a client.
struct Pair {
    network: Network,
    server: Service,
    client: Service,
    handle: ProtocolHandle<Messages<Clients>>,
    log: Rc<RefCell<Log>>,
}

fn run(network: &Network, services: &mut [&mut Service], seconds: u64) {
    let limit = network.now() + Duration::from_secs(seconds);
    network.run(|| {
        for service in services.iter_mut() {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
        if network.now() >= limit {
            return Turn::Done;
        }
        let next = services.iter().filter_map(|service| service.next_deadline()).min();
        Turn::Sleep(Some(next.unwrap_or(limit).min(limit)))
    });
}

impl Pair {
    fn new(builder: Builder) -> Self {
        Self::on(Network::with_faults(1, Faults::none()), builder)
    }

    fn on(network: Network, builder: Builder) -> Self {
        let log = Rc::new(RefCell::new(Log::default()));
        log.borrow_mut().members.push(Member::default());
        let server = builder.listen("10.0.0.1:80").build_with(network.host().sys()).unwrap();
        let mut of_client = Service::builder();
        let handle = of_client.add_protocol(messages::with("client", Clients(Rc::clone(&log))));
        let client = of_client.build_with(network.host().sys()).unwrap();
        Self { network, server, client, handle, log }
    }

    /// Connects, and subscribes to topics.
    fn subscribe(&mut self, topics: &[&str]) {
        self.begin(topics);
        run(&self.network, &mut [&mut self.server, &mut self.client], 2);
        assert_eq!(self.log.borrow().faults, Vec::<String>::new());
    }

    /// The same, with a broker.
    fn subscribe_with(&mut self, topics: &[&str], broker: &mut Service) {
        self.begin(topics);
        run(&self.network, &mut [&mut self.server, &mut self.client, broker], 2);
        assert_eq!(self.log.borrow().faults, Vec::<String>::new());
    }

    fn begin(&mut self, topics: &[&str]) {
        let connect = Connect::new("ws://10.0.0.1/").unwrap().subprotocol(SUBPROTOCOL).unwrap();
        let id = self.client.control().protocol(self.handle).unwrap().connect(connect);
        {
            let member = &mut self.log.borrow_mut().members[0];
            member.id = Some(id);
            for topic in topics {
                let id = member.next_id();
                member.topics.insert((*topic).into(), Stage::Asked(id));
                member.to_send.push(subscribe(id, topic, None, 0, true));
            }
        }
    }
}

#[test]
fn the_program_may_ask_the_hub_where_it_says_the_options_of_a_topic() {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let own: Arc<OnceLock<Hub>> = Arc::default();
        let asked = Arc::clone(&own);
        let options = move |_: &str| {
            let topics = asked.get().unwrap().statistics().topics;
            TopicOptions::default().with_waiting_messages(u32::try_from(topics).unwrap() + 1)
        };
        let (hub, builder) = Hub::builder().topic_options(options).install(Service::builder(), Everybody).unwrap();
        own.set(hub).unwrap();
        let mut pair = Pair::new(builder);
        pair.subscribe(&["t"]);
        let stage = pair.log.borrow().members[0].topics.get("t").cloned();
        sender.send(stage).unwrap();
    });
    let stage = receiver.recv_timeout(Duration::from_secs(60)).expect("waited a minute for a subscription");
    assert_eq!(stage, Some(Stage::Live));
}

#[test]
fn who_cannot_be_subscribed_in_the_loop_is_closed_and_not_left_to_wait() {
    let mut limits = Limits::default();
    limits.topics_per_connection = 3;
    let builder = || Hub::builder().install(Service::builder().limits(limits.clone()), Everybody).unwrap().1;
    let mut pair = Pair::new(builder());
    pair.subscribe(&["t"]);
    assert!(pair.log.borrow().members[0].is_open);
    let mut pair = Pair::new(builder());
    pair.subscribe(&["t", "u"]); // with their presence these are four
    assert!(!pair.log.borrow().members[0].is_open, "it believes that it is subscribed");
}

fn start_broker(network: &Network, store: &Rc<RefCell<Store>>) -> Service {
    let mut builder = Service::builder();
    let broker = builder.add_raw(Broker::new(Rc::clone(store)));
    builder.listen_raw(BROKER, broker).build_with(network.host().sys()).unwrap()
}

const BROKER: &str = "10.0.9.9:4000";

/// A client that has stopped reading while its hub heard of a new epoch, in a topic that drops what waits. Its offsets begin anew, so a client that
/// was not told would take all that follows for what it has seen.
#[test]
fn a_new_epoch_is_told_whatever_the_topic_drops() {
    for policy in [SlowReader::DropOldest, SlowReader::DropNewest, SlowReader::KeepLatest] {
        let network = Network::with_faults(1, Faults::none().with_buffers(300, 300));
        let store = Rc::new(RefCell::new(Store { epoch: Some(1), ..Store::default() }));
        let options = TopicOptions::default().with_slow_reader(policy).with_waiting_messages(2);
        let hub = Hub::builder().history(History::of_messages(20)).topic_options(move |_| options).seed(1);
        let (hub, builder) = hub.backplane(Lines::new(true)).install(Service::builder(), Everybody).unwrap();
        let mut pair = Pair::on(network.clone(), builder);
        let mut broker = start_broker(&network, &store);
        run(&network, &mut [&mut pair.server, &mut broker], 5);
        pair.subscribe_with(&["t"], &mut broker);
        let id = pair.log.borrow().members[0].id.unwrap();
        pair.client.control().connection(id).unwrap().pause_reading();
        let mut number = 0;
        let mut publish = |pair: &mut Pair, broker: &mut Service, count: u64| {
            for _ in 0..count {
                number += 1;
                let text = format!("{number} {}", "x".repeat(100));
                hub.publish(&mut pair.server.control(), "t", text).unwrap();
                run(&network, &mut [&mut pair.server, &mut pair.client, broker], 1);
            }
        };
        publish(&mut pair, &mut broker, 9);
        drop(broker);
        run(&network, &mut [&mut pair.server, &mut pair.client], 2);
        *store.borrow_mut() = Store { epoch: Some(2), ..Store::default() };
        broker = start_broker(&network, &store);
        run(&network, &mut [&mut pair.server, &mut pair.client, &mut broker], 6);
        publish(&mut pair, &mut broker, 4);
        assert!(pair.server.statistics().topics.dropped > 0, "{policy:?}: it reads");
        pair.client.control().connection(id).unwrap().resume_reading();
        run(&network, &mut [&mut pair.server, &mut pair.client, &mut broker], 5);
        publish(&mut pair, &mut broker, 1);
        let log = pair.log.borrow();
        assert_eq!(log.faults, Vec::<String>::new(), "{policy:?}");
        let last = At { epoch: format!("{:016x}", 2), offset: store.borrow().topics["t"].offset };
        assert_eq!(log.members[0].at["t"], last, "{policy:?}");
    }
}

/// It reads nothing, publishes, and the answers of the broker come when no more of them has room.
#[test]
fn who_has_no_room_for_an_answer_is_closed_and_not_left_to_wait() {
    let network = Network::with_faults(1, Faults::none().with_buffers(300, 300));
    let mut limits = Limits::default();
    (limits.output_hard, limits.output_low_water) = (4096, 1024);
    let hub = Hub::builder().history(History::of_messages(20)).seed(1).backplane(Lines::new(true));
    let (_, builder) = hub.install(Service::builder().limits(limits), Everybody).unwrap();
    let mut pair = Pair::on(network.clone(), builder);
    let mut broker = start_broker(&network, &Rc::new(RefCell::new(Store { epoch: Some(1), ..Store::default() })));
    run(&network, &mut [&mut pair.server, &mut broker], 5);
    pair.subscribe_with(&[], &mut broker);
    let id = pair.log.borrow().members[0].id.unwrap();
    pair.client.control().connection(id).unwrap().pause_reading();
    for number in 1..=200 {
        {
            let member = &mut pair.log.borrow_mut().members[0];
            let id = member.next_id();
            member.publishes.insert(id, ("t".into(), number));
            let request = serde_json::json!({"type": "publish", "id": id, "topic": "t", "data": number.to_string()});
            member.to_send.push(request.to_string());
        }
        if let Ok(mut connection) = pair.client.control().connection(id) {
            connection.request_writable();
        }
        run(&network, &mut [&mut pair.server, &mut pair.client, &mut broker], 1);
    }
    if let Ok(mut connection) = pair.client.control().connection(id) {
        connection.resume_reading();
    }
    run(&network, &mut [&mut pair.server, &mut pair.client, &mut broker], 30);
    let log = pair.log.borrow();
    assert_eq!(log.faults, Vec::<String>::new());
    assert!(!log.members[0].is_open, "{} answers are missing", log.members[0].publishes.len());
}

/// A broker that says nothing.
struct Mute;

impl Raw for Mute {
    type Session = ();

    fn name(&self) -> &str {
        "mute"
    }

    fn open(&mut self, _: &mut RawCx<'_>) {}

    fn receive(&mut self, _: &mut RawCx<'_>, (): &mut (), _: &[u8]) -> Result<(), RawClose> {
        Ok(())
    }

    fn writable(&mut self, _: &mut RawCx<'_>, (): &mut (), _: RawWritable<'_>) -> Result<(), RawClose> {
        Ok(())
    }

    fn closed(&mut self, _: &mut RawClosedCx<'_>, (): (), _: RawClosed) {}
}

#[test]
fn after_a_silent_broker_a_distant_one_has_time_to_answer() {
    let network = Network::with_faults(SEED, Faults::none().with_latency(Duration::from_secs(4)));
    let (hub, builder) = Hub::builder().backplane(Lines::new(false)).install(Service::builder(), Everybody).unwrap();
    let mut server = builder.build_with(network.host().sys()).unwrap();
    let mut builder = Service::builder();
    let mute = builder.add_raw(Mute);
    let mut mute = builder.listen_raw(BROKER, mute).build_with(network.host().sys()).unwrap();
    let mut waited = 0;
    while !hub.statistics().broker.unwrap().last_error.is_some_and(|error| error.contains("silent")) {
        assert!(waited < 200, "waited {waited} s for the hub to give a silent broker up");
        run(&network, &mut [&mut server, &mut mute], 1);
        waited += 1;
    }
    drop(mute);
    let mut broker = start_broker(&network, &Rc::default());
    run(&network, &mut [&mut server, &mut broker], 60);
    let status = hub.statistics().broker.unwrap();
    assert!(status.is_connected, "{status:?}");
}

/// One with which journeys take seconds.
const SEED: u64 = 1;
