//! The whole: servers, their broker and members, and what happens to them.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye::client::Reconnect;
use sockeye::{Connect, Service, messages};
use sockeye_hub::SUBPROTOCOL;

use crate::ledger::{Ledger, Progress, TOPICS};
use crate::machine::{BROKER, Machine};
use crate::member::{Common, Member, Status};
use crate::parts::{Broker, Folder, Kind, Server};
use crate::proxy::Proxy;

const SERVERS: usize = 3;

/// At each server.
const MEMBERS: usize = 2;

/// How long nothing may happen of what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is said how far it is.
const REPORT: Duration = Duration::from_secs(10);

/// What the broker keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
    faults: &'static [Fault],
}

impl Plan {
    pub(crate) fn new(kind: Kind, keeps: Keeps) -> Self {
        let messages = match std::env::var("SOCKEYE_MESSAGES") {
            Ok(number) => number.parse().expect("SOCKEYE_MESSAGES is a number"),
            Err(_) => 4000,
        };
        Self { kind, keeps, messages, faults: &FAULTS }
    }

    /// With a server on a machine of its own, whose link to the broker is taken away.
    pub(crate) fn unplugged(kind: Kind, keeps: Keeps) -> Self {
        Self { faults: &[Fault::Unplug], ..Self::new(kind, keeps) }
    }

    fn is_unplugged(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::Unplug))
    }

    fn name(&self) -> String {
        let which = match self.keeps {
            Keeps::Nothing => "without history",
            Keeps::Little => "with a short history",
            Keeps::Much => "with history",
        };
        format!("{:?} {which}{}", self.kind, if self.is_unplugged() { ", unplugged" } else { "" })
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
    /// The link between the last server and the broker is taken away: what is sent is lost, and no connection ends.
    Unplug,
}

const FAULTS: [Fault; 4] = [Fault::Server(0), Fault::Broker, Fault::Cut(1), Fault::Stall(2)];

struct Cluster {
    name: String,
    begin: Instant,
    /// When it was last said how far it is.
    reported: Instant,
    service: Service,
    common: Rc<RefCell<Common>>,
    servers: Vec<Server>,
    proxies: Vec<Proxy>,
    broker: Broker,
    /// Last, so that it is removed after everything that uses it.
    _folder: Folder,
}

/// Publishes until as many messages as planned were acknowledged, and meanwhile has each fault happen.
pub(crate) fn run(plan: &Plan) {
    let mut cluster = Cluster::start(plan);
    cluster.wait("the members to be subscribed", |common| {
        Progress::count(common.status.iter().map(|status| status.subscribed == TOPICS))
    });
    cluster.begin = Instant::now();
    cluster.publish(true);
    // Before that a server may not know its broker.
    cluster.hear_all("everyone to hear everyone");
    let parts = plan.faults.len() as u64 + 1;
    for (fault, part) in plan.faults.iter().zip(1..) {
        let share = plan.messages * part / parts;
        cluster.wait(&format!("messages to be acknowledged before {fault:?}"), |common| {
            Progress::new(common.ledger.counts.acknowledged, share)
        });
        cluster.suffer(*fault, plan.messages / 40);
        cluster.hear_all(&format!("everyone to hear everyone after {fault:?}"));
    }
    cluster.wait("the messages to be acknowledged", |common| {
        Progress::new(common.ledger.counts.acknowledged, plan.messages)
    });
    cluster.publish(false);
    cluster
        .wait("the last answers", |common| Progress::count(common.status.iter().map(|status| status.unanswered == 0)));
    cluster.wait("the last messages", |common| common.ledger.complete());
    let seconds = cluster.begin.elapsed().as_secs_f64();
    cluster.common.borrow_mut().ledger.check();
    let counts = cluster.common().ledger.counts;
    println!(
        "{}: {} acknowledged, {} not; {} deliveries, {} gaps with {}; {seconds:.1} s, {:.0} acknowledged/s, {:.0} deliveries/s",
        cluster.name,
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
        let interface = if plan.is_unplugged() { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let broker = Broker::start(plan.kind, interface, folder.path());
        let proxies: Vec<Proxy> = (0..SERVERS).map(|_| Proxy::to(broker.port())).collect();
        let start = |(number, proxy): (usize, &Proxy)| {
            let machine = (plan.is_unplugged() && number == SERVERS - 1).then(Machine::new);
            let (host, port) = if machine.is_some() { (BROKER, broker.port()) } else { ("127.0.0.1", proxy.port()) };
            let url = format!("{}://{host}:{port}", plan.kind.scheme());
            Server::start(number, &url, plan.history(), folder.path(), machine)
        };
        let servers: Vec<Server> = proxies.iter().enumerate().map(start).collect();
        let members = SERVERS * MEMBERS;
        let common = Rc::new(RefCell::new(Common {
            ledger: Ledger::new(members, plan.keeps != Keeps::Nothing),
            is_publishing: false,
            window: if plan.messages > 100_000 { 256 } else { 16 },
            status: vec![Status::default(); members],
            reasons: BTreeMap::new(),
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
        let (name, now) = (plan.name(), Instant::now());
        Self { name, begin: now, reported: now, service, common, servers, proxies, broker, _folder: folder }
    }

    /// Whether the members publish.
    fn publish(&self, is_publishing: bool) {
        self.common.borrow_mut().is_publishing = is_publishing;
    }

    fn common(&self) -> Ref<'_, Common> {
        self.common.borrow()
    }

    /// Runs the members until something is so, which has to come nearer all the time.
    fn wait(&mut self, what: &str, progress: impl Fn(&Common) -> Progress) {
        let (mut most, mut deadline) = (0, Instant::now() + PATIENCE);
        loop {
            let Progress { done, of } = progress(&self.common());
            if done == of {
                return;
            }
            let now = Instant::now();
            if done > most {
                (most, deadline) = (done, now + PATIENCE);
            }
            let (counts, seconds) = (self.common().ledger.counts, self.begin.elapsed().as_secs());
            if now >= deadline {
                let logs: Vec<String> = self.servers.iter().map(Server::log).collect();
                panic!(
                    "{}, {seconds} s: waited in vain for {what}, {done} of {of}: {counts:?} {:#?} {:#?}\nlogs: {}",
                    self.name,
                    self.common().status,
                    self.common().reasons,
                    logs.join("\n--\n")
                );
            }
            if now >= self.reported + REPORT {
                self.reported = now;
                println!("{}, {seconds} s: waiting for {what}, {done} of {of}; {counts:?}", self.name);
            }
            self.service.run_once(Some(Duration::from_secs(1))).expect("a loop that runs");
        }
    }

    /// Waits until everyone has heard something of everyone that was published from here on.
    fn hear_all(&mut self, what: &str) {
        let marks = self.common().ledger.marks();
        self.wait(what, |common| common.ledger.heard(&marks));
    }

    /// Has a fault happen and pass, while as many messages as `some` are acknowledged elsewhere.
    fn suffer(&mut self, fault: Fault, some: u64) {
        let before = self.common().status.clone();
        let acknowledged = move |common: &Common, of: &dyn Fn(usize) -> bool| {
            let members = (0..before.len()).filter(|member| of(*member));
            let sum = members.map(|member| common.status[member].acknowledged - before[member].acknowledged).sum();
            Progress::new(sum, some)
        };
        let before = self.common().status.clone();
        // Members of a server whose messages are not acknowledged any more.
        let is_noticed = move |common: &Common, of: &dyn Fn(usize) -> bool| {
            let members = (0..before.len()).filter(|member| of(*member));
            let not = |status: &Status| status.not_acknowledged;
            Progress::count(members.map(|member| not(&common.status[member]) > not(&before[member])))
        };
        match fault {
            Fault::Server(server) => {
                self.servers[server].kill();
                self.wait("messages without a server", |common| {
                    let members = (0..SERVERS * MEMBERS).filter(|member| server_of(*member) == server);
                    let away = Progress::count(members.map(|member| !common.status[member].is_open));
                    away.and(acknowledged(common, &|member| server_of(member) != server))
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
                        .and(acknowledged(common, &|member| server_of(member) != server))
                });
                self.proxies[server].restore();
            }
            Fault::Stall(server) => {
                self.proxies[server].stall();
                self.wait("messages while the network is stalled", |common| {
                    acknowledged(common, &|member| server_of(member) != server)
                });
                self.proxies[server].restore();
            }
            Fault::Unplug => {
                let server = SERVERS - 1;
                self.servers[server].machine().unplug();
                self.wait("messages without the link", |common| {
                    acknowledged(common, &|member| server_of(member) != server)
                });
                self.publish(false);
                self.wait("a server to notice that its broker does not answer", |common| {
                    is_noticed(common, &|member| server_of(member) == server)
                });
                let log = self.servers[server].log_path();
                self.wait("its log to say that a ping has found it", |_| {
                    let log = std::fs::read_to_string(&log).unwrap_or_default();
                    Progress::count([log.contains("the broker was silent for 20 seconds")])
                });
                self.servers[server].machine().plug_in();
                self.publish(true);
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
