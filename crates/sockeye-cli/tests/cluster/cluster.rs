//! The whole: servers, their broker and members, and what happens to them.

use std::cell::{Ref, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye::client::Reconnect;
use sockeye::{Connect, Service, messages};
use sockeye_hub::SUBPROTOCOL;

use crate::ledger::{Ledger, TOPICS};
use crate::member::{Common, Member, Status};
use crate::parts::{Broker, Folder, Kind, Server};
use crate::proxy::Proxy;

const SERVERS: usize = 3;

/// At each server.
const MEMBERS: usize = 2;

/// How long nothing may happen that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the broker keeps.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Keeps {
    Nothing,
    /// Less than what comes while a server is away.
    Little,
    /// As much as it may.
    Much,
}

/// What is tested.
pub(crate) struct Plan {
    kind: Kind,
    keeps: Keeps,
    messages: u64,
}

impl Plan {
    pub(crate) fn new(kind: Kind, keeps: Keeps) -> Self {
        let messages = match std::env::var("SOCKEYE_MESSAGES") {
            Ok(number) => number.parse().expect("SOCKEYE_MESSAGES is a number"),
            Err(_) => 4000,
        };
        Self { kind, keeps, messages }
    }

    /// For each topic.
    fn history(&self) -> u32 {
        match self.keeps {
            Keeps::Nothing => 0,
            Keeps::Little => 20,
            Keeps::Much => 100_000,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A server is killed, and starts again.
    Server(usize),
    /// The broker is killed, and starts again with what it has kept.
    Broker,
    /// The network between a server and the broker is cut.
    Cut(usize),
    /// Nothing passes between a server and the broker.
    Stall(usize),
}

const FAULTS: [Fault; 4] = [Fault::Server(0), Fault::Broker, Fault::Cut(1), Fault::Stall(2)];

struct Cluster {
    service: Service,
    common: Rc<RefCell<Common>>,
    servers: Vec<Server>,
    proxies: Vec<Proxy>,
    broker: Broker,
    /// Last, so that it is removed after everything that uses it.
    _folder: Folder,
}

/// Publishes until as many messages as planned were acknowledged, and meanwhile has each fault happen.
pub(crate) fn run(what: &str, plan: &Plan) {
    let mut cluster = Cluster::start(plan);
    cluster
        .wait("the members to be subscribed", |common| common.status.iter().all(|status| status.subscribed == TOPICS));
    let begin = Instant::now();
    cluster.common.borrow_mut().is_publishing = true;
    let parts = FAULTS.len() as u64 + 1;
    for (fault, part) in FAULTS.into_iter().zip(1..) {
        let share = plan.messages * part / parts;
        cluster.wait("messages to be acknowledged before a fault", |common| common.ledger.counts.acknowledged >= share);
        cluster.suffer(fault, plan.messages / 40);
        cluster.hear_all(&format!("everyone to hear everyone after {fault:?}"));
    }
    cluster.wait("the messages to be acknowledged", |common| common.ledger.counts.acknowledged >= plan.messages);
    cluster.common.borrow_mut().is_publishing = false;
    cluster.wait("the last answers", |common| common.status.iter().all(|status| status.unanswered == 0));
    cluster.wait("the last messages", |common| common.ledger.is_complete());
    let seconds = begin.elapsed().as_secs_f64();
    cluster.common.borrow_mut().ledger.check();
    let counts = cluster.common().ledger.counts;
    println!(
        "{what}: {} acknowledged, {} not; {} deliveries, {} gaps with {}; {seconds:.1} s, {:.0} acknowledged/s, {:.0} deliveries/s",
        counts.acknowledged,
        counts.other,
        counts.seen,
        counts.gaps,
        counts.within_gaps,
        counts.acknowledged as f64 / seconds,
        counts.seen as f64 / seconds,
    );
}

impl Cluster {
    fn start(plan: &Plan) -> Self {
        let folder = Folder::new();
        let broker = Broker::start(plan.kind, folder.path());
        let proxies: Vec<Proxy> = (0..SERVERS).map(|_| Proxy::to(broker.port())).collect();
        let url = |proxy: &Proxy| format!("{}://127.0.0.1:{}", plan.kind.scheme(), proxy.port());
        let servers: Vec<Server> = proxies
            .iter()
            .enumerate()
            .map(|(number, proxy)| Server::start(number, &url(proxy), plan.history(), folder.path()))
            .collect();
        let members = SERVERS * MEMBERS;
        let common = Rc::new(RefCell::new(Common {
            ledger: Ledger::new(members, plan.keeps != Keeps::Nothing),
            is_publishing: false,
            window: if plan.messages > 100_000 { 256 } else { 16 },
            status: vec![Status::default(); members],
        }));
        let mut builder = Service::builder();
        for member in 0..members {
            builder = builder.protocol(messages::with(protocol(member), Member::new(member, &common)));
        }
        let mut service = builder.build().expect("a service");
        for member in 0..members {
            let connect = connect(&servers[server_of(member)].url());
            service.control().protocol_named(&protocol(member)).expect("a protocol").connect(connect);
        }
        Self { service, common, servers, proxies, broker, _folder: folder }
    }

    fn common(&self) -> Ref<'_, Common> {
        self.common.borrow()
    }

    /// Runs the members until something is so.
    fn wait(&mut self, what: &str, is_so: impl Fn(&Common) -> bool) {
        let (mut acknowledged, mut deadline) = (0, Instant::now() + PATIENCE);
        while !is_so(&self.common()) {
            self.service.run_once(Some(Duration::from_secs(1))).expect("a loop that runs");
            let now = self.common().ledger.counts.acknowledged;
            if now >= acknowledged + 1000 {
                (acknowledged, deadline) = (now, Instant::now() + PATIENCE);
            }
            if Instant::now() >= deadline {
                let common = self.common();
                let logs: Vec<String> = self.servers.iter().map(Server::log).collect();
                panic!(
                    "waited in vain for {what}: {:?} {:#?}\nlogs: {}",
                    common.ledger.counts,
                    common.status,
                    logs.join("\n--\n")
                );
            }
        }
    }

    /// Waits until everyone has heard something of everyone that was published from here on.
    fn hear_all(&mut self, what: &str) {
        let marks = self.common().ledger.marks();
        self.wait(what, |common| common.ledger.all_heard(&marks));
    }

    /// Has a fault happen and pass, while as many messages as `some` are acknowledged elsewhere.
    fn suffer(&mut self, fault: Fault, some: u64) {
        let before = self.common().status.clone();
        let acknowledged = move |common: &Common, of: &dyn Fn(usize) -> bool| {
            let members = (0..before.len()).filter(|member| of(*member));
            members.map(|member| common.status[member].acknowledged - before[member].acknowledged).sum::<u64>()
        };
        let before = self.common().status.clone();
        // Members of a server whose messages are not acknowledged any more.
        let is_noticed = move |common: &Common, of: &dyn Fn(usize) -> bool| {
            let mut members = (0..before.len()).filter(|member| of(*member));
            members.all(|member| common.status[member].not_acknowledged > before[member].not_acknowledged)
        };
        match fault {
            Fault::Server(server) => {
                self.servers[server].kill();
                self.wait("messages without a server", |common| {
                    let is_away = (0..SERVERS * MEMBERS)
                        .filter(|member| server_of(*member) == server)
                        .all(|member| !common.status[member].is_open);
                    is_away && acknowledged(common, &|member| server_of(member) != server) >= some
                });
                self.servers[server].run();
            }
            Fault::Broker => {
                self.broker.kill();
                self.wait("the members to notice that the broker is away", |common| is_noticed(common, &|_| true));
                self.broker.run();
            }
            Fault::Cut(server) => {
                self.proxies[server].cut();
                self.wait("messages while the network is cut", |common| {
                    is_noticed(common, &|member| server_of(member) == server)
                        && acknowledged(common, &|member| server_of(member) != server) >= some
                });
                self.proxies[server].restore();
            }
            Fault::Stall(server) => {
                self.proxies[server].stall();
                self.wait("messages while the network is stalled", |common| {
                    acknowledged(common, &|member| server_of(member) != server) >= some
                });
                self.proxies[server].restore();
            }
        }
    }
}

fn server_of(member: usize) -> usize {
    member % SERVERS
}

fn protocol(member: usize) -> String {
    format!("member-{member}")
}

fn connect(url: &str) -> Connect {
    let again = Reconnect::new().initial(Duration::from_millis(50)).cap(Duration::from_millis(200));
    let connect = Connect::new(url).expect("a URL").subprotocol(SUBPROTOCOL).expect("a subprotocol");
    connect.no_proxy().reconnect(again).expect("a policy")
}
