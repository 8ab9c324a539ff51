//! What comes to nothing, and is told to an endpoint that does not listen: a log has it.

use std::fmt::{self, Write};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockeye::raw::{Raw, RawClose, RawCx, Watcher};
use sockeye::sim::{Faults, Network};
use sockeye::sys::Address;
use sockeye::{CloseCode, Connect, Service, messages};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the warnings.
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

/// Implements nothing that it need not.
pub(crate) struct Silent(pub(crate) &'static str);

impl Raw for Silent {
    type Session = ();

    fn name(&self) -> &str {
        self.0
    }

    fn open(&mut self, _: &mut RawCx<'_>) {}

    fn receive(&mut self, _: &mut RawCx<'_>, (): &mut (), _: &[u8]) -> Result<(), RawClose> {
        Ok(())
    }
}

impl Watcher for Silent {
    type Session = ();

    fn name(&self) -> &str {
        self.0
    }

    fn open(&mut self, _: &mut RawCx<'_>) {}

    fn readable(&mut self, _: &mut RawCx<'_>, (): &mut (), _: BorrowedFd<'_>) -> Result<(), RawClose> {
        Ok(())
    }
}

fn warnings(run: impl FnOnce()) -> Vec<String> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(Warnings(Arc::clone(&kept)), run);
    std::mem::take(&mut kept.lock().unwrap())
}

#[test]
fn an_adoption_that_failed_is_a_warning() {
    let mut ids = Vec::new();
    let warnings = warnings(|| {
        let mut service = Service::builder().raw(Silent("raw")).watcher(Silent("watch")).build().unwrap();
        for name in ["raw", "watch"] {
            ids.push(service.control().endpoint_named(name).unwrap().adopt(File::open("/").unwrap()));
        }
        service.run_once(Some(Duration::ZERO)).unwrap();
        assert_eq!(service.connections(), 0);
    });
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for ((warning, id), name) in warnings.iter().zip(&ids).zip(["raw", "watch"]) {
        assert!(
            warning.contains(&format!("id={id} ")) && warning.contains(&format!("endpoint=\"{name}\"")),
            "{warning}"
        );
        assert!(warning.contains("directory"), "it does not say why: {warning}");
    }
}

#[test]
fn a_connect_that_failed_is_a_warning_unless_it_was_called_off() {
    let network = Network::with_faults(1, Faults::none());
    network.unreachable(&Address::Ip(([192, 0, 2, 1], 80).into()));
    let warnings = warnings(|| {
        let quiet = messages::on("quiet", |_, _| Ok(()));
        let mut service = Service::builder().protocol(quiet).build_with(network.sys()).unwrap();
        let to = Connect::new("ws://192.0.2.1/").unwrap();
        service.control().protocol_named("quiet").unwrap().connect(to.clone());
        let id = service.control().protocol_named("quiet").unwrap().connect(to);
        service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        for _ in 0..20 {
            service.run_once(Some(Duration::ZERO)).unwrap();
            network.advance(Duration::from_millis(1));
        }
        assert_eq!(service.connections(), 0);
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("192.0.2.1") && warnings[0].contains("connecting failed"), "{warnings:?}");
}
