//! Looking hosts up: the program's own resolver, if it has one, and that of the system.

use crate::client::plan::Plan;
use crate::client::{Answer, FailureCause, Lookup, Resolution, Stage};
use crate::id::ConnId;
use crate::service::builder::Builder;
use crate::service::connecting::attempts::{Attempt, Part};
use crate::service::core::Service;
use crate::state::Commands;
use crate::statistics::{Culprit, WorkOwner};
use crate::sys::{Address, Resolved};

impl Builder {
    /// Has the program look up the hosts of its connects, instead of the threads of the loop: a name server of its own, a
    /// table, service discovery. It is called on the loop's thread, between callbacks, once for each name to connect to
    /// (not for addresses), and must not block. It answers at once, or [later](Resolution::later) by
    /// [`Commands::resolve`], from any callback or from another thread by [`Remote::run`](crate::Remote::run).
    ///
    /// The deadlines of the connect include the look-up. When it is cancelled or fails, `failed` tells, and an answer is
    /// [`Gone`](crate::Gone).
    ///
    /// ```
    /// use std::thread;
    ///
    /// use sockeye::client::{Lookup, Resolution};
    /// use sockeye::sys::Address;
    /// use sockeye::{Commands, Remote, Service};
    /// # use std::sync::{Arc, OnceLock};
    ///
    /// # fn ask_consul(name: &str) -> Vec<Address> { Vec::new() }
    /// # fn main() -> Result<(), sockeye::Error> {
    /// let remote: Arc<OnceLock<Remote>> = Arc::default();
    /// let late = Arc::clone(&remote);
    /// let resolver = move |_: &mut Commands, lookup: &Lookup<'_>| match lookup.host() {
    ///     "cache" => Resolution::addresses([Address::Unix("/run/cache.sock".into())]),
    ///     name if name.ends_with(".service.consul") => {
    ///         let (id, name, remote) = (lookup.id(), name.to_owned(), Arc::clone(&late));
    ///         thread::spawn(move || {
    ///             let found = ask_consul(&name); // may take its time
    ///             remote.get()?.run(move |control| drop(control.resolve(id, Resolution::addresses(found)))).ok()
    ///         });
    ///         Resolution::later()
    ///     }
    ///     _ => Resolution::system(),
    /// };
    /// let mut service = Service::builder().resolver(resolver).build()?;
    /// let _ = remote.set(service.remote());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn resolver(mut self, resolver: impl FnMut(&mut Commands, &Lookup<'_>) -> Resolution + 'static) -> Self {
        self.connecting.resolver = Some(Box::new(resolver));
        self
    }
}

impl Service {
    /// Asks for the addresses of a host.
    pub(super) fn look_up(&mut self, id: ConnId, plan: Box<Plan>, host: &str, port: u16) {
        let until = self.env.state.now + plan.timeouts().resolve;
        match self.ask_program(id, host, port).0 {
            Answer::Found(found) => return self.looked_up(id, plan, found),
            Answer::Later => {}
            Answer::System => {
                if let Err(error) = self.env.io.sys.resolve(id.as_u64(), host, port) {
                    let host = host.to_owned();
                    return self.fail(id, plan, Stage::Resolve, FailureCause::Resolve { host, error });
                }
            }
        }
        self.connecting.attempts.insert(id, Attempt::new(plan, Part::Resolving { until }));
        self.arm_attempt(id);
    }

    fn ask_program(&mut self, id: ConnId, host: &str, port: u16) -> Resolution {
        let Some(mut resolver) = self.connecting.resolver.take() else { return Resolution::system() };
        let env = &mut self.env;
        // It may answer before it returns, if it says "later" then.
        env.state.connects.begin_lookup(id);
        env.io.steps_over(0);
        let resolution = resolver(&mut env.state, &Lookup { id, host, port });
        env.io.lap(Culprit::Resolver, WorkOwner::default());
        if !matches!(resolution.0, Answer::Later) {
            env.state.connects.forget_lookup(id);
        }
        self.connecting.resolver = Some(resolver);
        resolution
    }

    fn looked_up(&mut self, id: ConnId, plan: Box<Plan>, found: std::io::Result<Vec<Address>>) {
        match found {
            Ok(addresses) => self.race(id, plan, addresses),
            Err(error) => {
                let host = plan.connect().first_host().0.to_owned();
                self.fail(id, plan, Stage::Resolve, FailureCause::Resolve { host, error });
            }
        }
    }

    /// Takes an attempt that waits for addresses. `None`: it is over, cancelled or timed out.
    fn take_resolving(&mut self, id: ConnId) -> Option<Attempt> {
        let attempt = self.connecting.attempts.get(&id)?;
        if !matches!(attempt.part, Part::Resolving { .. }) {
            return None;
        }
        self.connecting.take(&mut *self.env.io.sys, id)
    }

    /// Takes the program's later answers. Those of the callbacks that follow wait for the next call.
    pub(super) fn take_resolutions(&mut self) {
        for (id, resolution) in std::mem::take(&mut self.env.state.connects.resolutions) {
            let Some(attempt) = self.take_resolving(id) else { continue };
            match resolution.0 {
                Answer::Found(found) => self.looked_up(id, attempt.plan, found),
                Answer::System => {
                    let (host, port) = attempt.plan.connect().first_host();
                    match self.env.io.sys.resolve(id.as_u64(), host, port) {
                        // It waits on, with the deadline that it has.
                        Ok(()) => {
                            self.connecting.attempts.insert(id, attempt);
                        }
                        Err(error) => self.looked_up(id, attempt.plan, Err(error)),
                    }
                }
                Answer::Later => {}
            }
        }
    }

    /// Takes the answers of the system's resolver, if there are any.
    pub(crate) fn take_resolved(&mut self) {
        while let Some(Resolved { ticket, addresses, .. }) = self.env.io.sys.resolved() {
            let id = ConnId::from_u64(ticket);
            let Some(attempt) = self.take_resolving(id) else { continue };
            let found = addresses.map(|addresses| addresses.into_iter().map(Address::Ip).collect());
            self.looked_up(id, attempt.plan, found);
            self.carry_out_between();
        }
    }
}
