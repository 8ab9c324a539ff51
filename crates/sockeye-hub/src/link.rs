//! The connection to the broker: an ordinary raw connection of the first service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sockeye::client::{Failure, RawConnect};
use sockeye::raw::{EndpointMut, Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable};
use sockeye::{Commands, ConnId};

use crate::random::Random;
use crate::shared::{LINK, Shared};
use crate::state::link::LinkState;
use crate::statistics::BrokerStatus;

/// What the program does when the state of the broker has changed.
pub(crate) type Heard = Box<dyn FnMut(&BrokerStatus) + Send>;

pub(crate) struct Link {
    shared: Arc<Shared>,
    connect: RawConnect,
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    tls: Option<(sockeye::tls::ClientTls, String)>,
    heard: Option<Heard>,
    random: Random,
    /// The one there is, also while it is being made.
    connection: Option<ConnId>,
    /// Attempts since the broker was ready.
    failures: u32,
    /// Seconds until the next attempt.
    wait: u32,
    /// Something has come since the last tick.
    is_alive: bool,
    /// Seconds without a sign of life.
    silence: u32,
    /// Why the connection is ended by us.
    error: Option<String>,
    was_ready: bool,
}

/// After so many seconds of silence the broker is asked for a sign of life, and after twice as many the connection is given up.
const SILENCE: u32 = 10;

/// The longest time between two attempts, in seconds.
const MOST_WAIT: u32 = 30;

/// The socket is given so much at a time.
const WRITE: usize = 64 * 1024;

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, connect: RawConnect, heard: Option<Heard>, random: Random) -> Self {
        Self {
            shared,
            connect,
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            tls: None,
            heard,
            random,
            connection: None,
            failures: 0,
            wait: 0,
            is_alive: false,
            silence: 0,
            error: None,
            was_ready: false,
        }
    }

    /// With TLS that begins when the backplane says so.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    pub(crate) fn with_tls(self, tls: sockeye::tls::ClientTls, host: String) -> Self {
        Self { tls: Some((tls, host)), ..self }
    }

    /// Calls the state of the link, and does what follows.
    fn with<R>(&self, commands: &mut Commands, call: impl FnOnce(&mut LinkState) -> R) -> Option<R> {
        let shared = Arc::clone(&self.shared);
        shared.act(0, commands, |state, _, _| state.link.as_mut().map(call))
    }

    /// Tells the program, if something has changed.
    fn note(&mut self) {
        let Some(status) = self.shared.look(|state| state.link.as_ref().map(LinkState::status)) else { return };
        if status.is_connected {
            self.failures = 0;
        }
        if std::mem::replace(&mut self.was_ready, status.is_connected) != status.is_connected {
            if status.is_connected {
                tracing::info!("the broker is connected");
            }
            self.tell(&status);
        }
    }

    fn tell(&mut self, status: &BrokerStatus) {
        if let Some(heard) = &mut self.heard {
            heard(status);
        }
    }

    fn lost(&mut self, commands: &mut Commands, why: String) {
        let why = self.error.take().unwrap_or(why);
        self.connection = None;
        self.failures = self.failures.saturating_add(1);
        self.wait = self.pause();
        tracing::warn!(error = %why, seconds = self.wait, "the broker is not connected; the next attempt follows");
        let shared = Arc::clone(&self.shared);
        shared.act(0, commands, |state, _, out| state.lose_link(&why, out));
        self.was_ready = false;
        if let Some(status) = self.shared.look(|state| state.link.as_ref().map(LinkState::status)) {
            self.tell(&status);
        }
    }

    /// Seconds until the next attempt: twice as many each time, and a random part, so that many servers do not come at once.
    fn pause(&mut self) -> u32 {
        let most = 1u32.checked_shl(self.failures.min(8)).unwrap_or(MOST_WAIT).min(MOST_WAIT);
        1 + self.random.next() as u32 % most
    }

    fn write(&self, cx: &mut RawCx<'_>, tx: RawWritable<'_>) {
        let shared = Arc::clone(&self.shared);
        let mut tx = Some(tx);
        let has_more = shared.act(0, cx, |state, _, _| {
            let link = state.link.as_mut()?;
            while let Some(permission) = tx.take().filter(|_| link.has_bytes()) {
                let bytes = link.next_bytes(WRITE);
                let len = bytes.len();
                tx = permission.write(bytes).more();
                link.taken(len);
            }
            link.is_woken = link.has_bytes();
            Some(link.has_bytes())
        });
        if has_more == Some(true) {
            cx.request_writable();
        }
    }

    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    fn begin_tls(&mut self, cx: &mut RawCx<'_>) -> Result<(), RawClose> {
        let Some((tls, host)) = &self.tls else { return self.without_tls() };
        cx.start_tls(sockeye::tls::TlsRole::client(tls.clone(), host), &[]);
        Ok(())
    }

    fn without_tls(&mut self) -> Result<(), RawClose> {
        self.error = Some("the broker wants TLS, which was not set up (HubBuilder::broker_tls)".to_owned());
        Err(RawClose::Normal)
    }
}

impl Raw for Link {
    type Session = ();

    fn name(&self) -> &str {
        LINK
    }

    fn open(&mut self, cx: &mut RawCx<'_>) {
        (self.is_alive, self.silence) = (true, 0);
        self.with(cx, |link| link.with(|backplane, io| backplane.opened(io)));
        cx.request_writable();
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, (): &mut (), bytes: &[u8]) -> Result<(), RawClose> {
        self.is_alive = true;
        let (result, wants_tls) = self.with(cx, |link| link.receive(bytes)).unwrap_or((Ok(()), false));
        self.note();
        if let Err(error) = result {
            self.error = Some(error.to_string());
            return Err(RawClose::Normal);
        }
        if wants_tls {
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            return self.begin_tls(cx);
            #[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
            return self.without_tls();
        }
        cx.request_writable();
        Ok(())
    }

    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    fn secured(&mut self, cx: &mut RawCx<'_>, (): &mut ()) -> Result<(), RawClose> {
        self.with(cx, |link| link.with(|backplane, io| backplane.secured(io)));
        cx.request_writable();
        Ok(())
    }

    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    fn tls_failed(&mut self, _: &mut RawCx<'_>, (): &mut (), failure: &sockeye::tls::TlsFailure) {
        self.error = Some(failure.to_string());
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, (): &mut (), tx: RawWritable<'_>) -> Result<(), RawClose> {
        self.write(cx, tx);
        Ok(())
    }

    fn low_water(&mut self, cx: &mut RawCx<'_>, (): &mut ()) -> Result<(), RawClose> {
        cx.request_writable();
        Ok(())
    }

    fn closed(&mut self, cx: &mut RawClosedCx<'_>, (): (), ended: RawClosed) {
        self.lost(cx, format!("the connection has {}", ended_text(ended)));
    }

    fn failed(&mut self, own: &mut EndpointMut<'_>, _: ConnId, failure: Failure) {
        self.lost(own, failure.to_string());
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn ticks_alone(&self) -> bool {
        true
    }

    fn tick(&mut self, own: &mut EndpointMut<'_>) {
        // Topics that have lost their last client are to go, too.
        self.shared.act(0, own, |state, now, out| state.tick(now, out));
        let Some(id) = self.connection else {
            self.wait = self.wait.saturating_sub(1);
            if self.wait == 0 && !own.is_draining() {
                self.with(own, LinkState::begins);
                // The silence of the one before is not its own.
                (self.is_alive, self.silence) = (false, 0);
                self.connection = Some(own.connect(self.connect.clone()));
            }
            return;
        };
        let Ok(mut connection) = own.connection(id) else { return };
        self.silence = if std::mem::take(&mut self.is_alive) { 0 } else { self.silence + 1 };
        if self.silence >= 2 * SILENCE {
            self.error = Some(format!("the broker was silent for {} seconds", self.silence));
            connection.abort();
        } else {
            let is_silent = self.silence >= SILENCE;
            self.with(own, |link| {
                if link.is_ready() {
                    link.with(|backplane, io| {
                        backplane.tick(io);
                        if is_silent {
                            backplane.ping(io);
                        }
                    });
                }
            });
            own.request_writable();
        }
    }
}

fn ended_text(ended: RawClosed) -> String {
    match ended {
        RawClosed::Peer => "been ended by the broker".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("connection", &self.connection).finish_non_exhaustive()
    }
}
