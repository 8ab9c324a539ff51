//! The compressors and decompressors of the loop, which its connections use one after another.

use std::rc::Rc;

use sockeye_proto::conn::Codec;
use sockeye_proto::ext::deflate::WindowBits;
use sockeye_proto::time::Instant;

use crate::compression::Compression;
use crate::transport::account::{Account, Charge};
use crate::transport::codec::{Deflater, Inflater};

/// The machines, and the buffers that go with them. All of it is empty until the first compressed message.
pub(crate) struct Codecs {
    /// What each endpoint wants.
    settings: Vec<Compression>,
    deflaters: Vec<Machine>,
    /// Those that no connection is in the middle of a message with.
    inflaters: Vec<Inflater>,
    /// For inflated pieces.
    pub(super) output: Vec<u8>,
    /// For compressed messages.
    pub(super) packed: Vec<u8>,
    last_token: u64,
    charge: Charge,
    /// One of them was used since [`tidy`](Self::tidy).
    is_used: bool,
    used_at: Instant,
    /// When the turn began.
    now: Instant,
}

/// A compressor.
struct Machine {
    codec: Deflater,
    level: u8,
    window: WindowBits,
    /// Which connection's messages it has seen all of: see [`Binding`].
    bound: u64,
    /// The higher, the later it was used.
    used: u64,
}

/// That a compressor knows the messages of a connection, and need not be told its history. Not valid once another
/// connection has taken that compressor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Binding(u64);

impl Binding {
    pub(super) const NONE: Self = Self(0);
}

impl Codecs {
    pub(crate) fn new() -> Self {
        Self {
            settings: Vec::new(),
            deflaters: Vec::new(),
            inflaters: Vec::new(),
            output: Vec::new(),
            packed: Vec::new(),
            last_token: 0,
            charge: Charge::default(),
            is_used: false,
            used_at: Instant::from_nanos(0),
            now: Instant::from_nanos(0),
        }
    }

    /// What the endpoints want, by their index.
    pub(crate) fn set_settings(&mut self, settings: Vec<Compression>) {
        self.settings = settings;
    }

    /// What an endpoint wants.
    pub(crate) fn settings(&self, endpoint: u16) -> Compression {
        self.settings.get(usize::from(endpoint)).copied().unwrap_or(Compression::off())
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
    }

    /// When the turn began.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// A compressor for the connection with this binding, and the binding that it has afterwards.
    #[inline]
    pub(super) fn deflater(&mut self, level: u8, window: WindowBits, binding: Binding) -> Option<(Codec<'_>, Binding)> {
        let window = machine_window(window);
        self.last_token += 1;
        let token = self.last_token;
        let fits = |machine: &Machine| machine.level == level && machine.window == window;
        let known = |machine: &Machine| fits(machine) && machine.bound == binding.0;
        let bound = self.deflaters.iter().position(known).filter(|_| binding != Binding::NONE);
        let index = match bound {
            Some(index) => index,
            None => self.free_deflater(level, window, binding != Binding::NONE, fits)?,
        };
        let machine = self.deflaters.get_mut(index)?;
        machine.used = token;
        if bound.is_some() {
            return Some((Codec::Bound(&mut machine.codec), binding));
        }
        machine.bound = token;
        Some((Codec::Any(&mut machine.codec), Binding(token)))
    }

    /// The place of a compressor for anybody: the one that was unused for longest. `is_robbed`: the one that the connection had
    /// was taken by another, so both are busy, and a further one is made if there may be more.
    #[cold]
    fn free_deflater(
        &mut self,
        level: u8,
        window: WindowBits,
        is_robbed: bool,
        fits: impl Fn(&Machine) -> bool,
    ) -> Option<usize> {
        let is_full = self.deflaters.len() >= MOST_DEFLATERS;
        let places = || self.deflaters.iter().enumerate();
        let oldest = places().filter(|(_, machine)| fits(machine)).min_by_key(|(_, machine)| machine.used);
        if let Some((index, _)) = oldest.filter(|_| is_full || !is_robbed) {
            return Some(index);
        }
        if is_full {
            // None of this kind, and no room for one. One of a kind of which there are more goes first.
            let kind = |machine: &Machine| (machine.level, machine.window);
            let is_only = |machine: &Machine| places().filter(|(_, other)| kind(other) == kind(machine)).count() == 1;
            let oldest = places().min_by_key(|(_, machine)| (is_only(machine), machine.used))?.0;
            self.deflaters.swap_remove(oldest);
        }
        let codec = Deflater::new(level, window.get())?;
        self.deflaters.push(Machine { codec, level, window, bound: 0, used: 0 });
        Some(self.deflaters.len() - 1)
    }

    /// A decompressor that is not in use. It stays here, unless it is [taken](Self::take_inflater).
    #[inline]
    pub(super) fn inflater(&mut self) -> Option<&mut Inflater> {
        if self.inflaters.is_empty() {
            self.inflaters.push(Inflater::new()?);
        }
        self.inflaters.last_mut()
    }

    /// Takes the one that [`inflater`](Self::inflater) returned last: the message goes on.
    pub(super) fn take_inflater(&mut self) -> Option<Inflater> {
        self.inflaters.pop()
    }

    pub(super) fn give_inflater(&mut self, inflater: Inflater) {
        if self.inflaters.len() < KEPT_INFLATERS {
            self.inflaters.push(inflater);
        }
    }

    /// They were used. What they hold then is counted when the turn ends and all of it is back: in the middle of a callback a
    /// buffer is not here.
    #[inline]
    pub(super) fn note_use(&mut self) {
        self.is_used = true;
    }

    /// Whether they were used in this turn.
    #[inline]
    pub(super) fn are_used(&self) -> bool {
        self.is_used
    }

    /// Whether there is anything to give back.
    #[inline]
    pub(super) fn is_needed(&self) -> bool {
        self.is_used || self.charge.bytes() > 0
    }

    /// When [`tidy`](Self::tidy) has something to do, if they are not used before.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.is_needed().then(|| self.used_at.saturating_add(KEPT_FOR))
    }

    /// A turn ends: what they hold is counted, as held for the peers together, and what was not used for some time is given back.
    #[inline]
    pub(super) fn tidy(&mut self, now: Instant, account: &Rc<Account>) {
        if std::mem::take(&mut self.is_used) {
            self.used_at = now;
            let machines = self.deflaters.len() * Deflater::BYTES + self.inflaters.len() * Inflater::BYTES;
            self.charge.set(account, machines + self.output.capacity() + self.packed.capacity());
        } else if now.saturating_duration_since(self.used_at) >= KEPT_FOR {
            self.deflaters = Vec::new();
            self.inflaters = Vec::new();
            self.output = Vec::new();
            self.packed = Vec::new();
            self.charge = Charge::default();
        }
    }
}

/// The window of the compressor for a connection that agreed to `agreed`: the same, or the next smaller one of four. There are as many
/// as there may be compressors ([`MOST_DEFLATERS`]). With more, clients of different windows could make the loop build a compressor of
/// 384 KB for each message.
fn machine_window(agreed: WindowBits) -> WindowBits {
    let bits = match agreed.get() {
        15.. => 15,
        13.. => 13,
        11.. => 11,
        // One of 512 bytes reaches back by 250, so it serves for 256, too.
        _ => 9,
    };
    WindowBits::try_from(bits).unwrap_or(agreed)
}

/// How many compressors a loop has at most: one is shared, the others stay with the busiest connections, which do without the
/// history then.
const MOST_DEFLATERS: usize = 4;
/// How many unused decompressors are kept.
const KEPT_INFLATERS: usize = 4;
/// How long they are kept unused.
const KEPT_FOR: std::time::Duration = std::time::Duration::from_secs(60);

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Takes a compressor, and says whether it knew the connection.
    fn take(codecs: &mut Codecs, window: u8, binding: &mut Binding) -> bool {
        let (codec, new) = codecs.deflater(1, WindowBits::try_from(window).unwrap(), *binding).unwrap();
        *binding = new;
        match codec {
            Codec::Bound(_) => true,
            Codec::Any(codec) => {
                codec.begin([&[], &[]]);
                false
            }
        }
    }

    #[test]
    fn a_compressor_stays_with_its_connection_until_another_takes_it() {
        let mut codecs = Codecs::new();
        let mut bindings = [Binding::NONE; 6];
        assert!(!take(&mut codecs, 15, &mut bindings[0]) && take(&mut codecs, 15, &mut bindings[0]));
        // A new connection takes the one that there is; the one that had it gets another, and then both are known.
        assert!(!take(&mut codecs, 15, &mut bindings[1]));
        assert_eq!(codecs.deflaters.len(), 1);
        assert!(!take(&mut codecs, 15, &mut bindings[0]));
        assert_eq!(codecs.deflaters.len(), 2);
        assert!(take(&mut codecs, 15, &mut bindings[0]) && take(&mut codecs, 15, &mut bindings[1]));
        // However many there are and whatever they want, a compressor is known to one connection, and there are few.
        for round in 0..300 {
            let at = (round * 7 + round / 11) % bindings.len();
            let before = bindings[at];
            let window = [15, 15, 12, 9, 15, 10][at];
            let known = take(&mut codecs, window, &mut bindings[at]);
            assert_eq!(known, before == bindings[at]);
            let owners = codecs.deflaters.iter().filter(|machine| machine.bound == bindings[at].0).count();
            assert!(owners == 1 && codecs.deflaters.len() <= MOST_DEFLATERS);
            assert!(bindings.iter().enumerate().all(|(other, binding)| other == at || *binding != bindings[at]));
        }
    }

    /// Clients of all windows, some of which are busy at the same time.
    #[test]
    fn no_compressor_is_built_twice_for_whatever_windows() {
        let mut codecs = Codecs::new();
        let mut bindings = [Binding::NONE; 11];
        for round in 0..400 {
            // Two are busy, and the others come between them.
            let at = if round % 3 < 2 { round % 3 } else { 2 + round / 3 % 9 };
            let window = [15, 15, 14, 13, 13, 12, 11, 10, 9, 8, 15][at];
            take(&mut codecs, window, &mut bindings[at]);
            let reach = codecs.deflaters.iter().filter(|machine| machine.bound == bindings[at].0);
            assert!(reach.map(|machine| machine.window.get()).all(|bits| bits <= window.max(9)));
            let kinds = [9, 11, 13, 15]
                .map(|bits| codecs.deflaters.iter().filter(|machine| machine.window.get() == bits).count());
            assert!(round < 50 || kinds == [1; 4], "round {round}: {kinds:?}");
        }
    }

    #[test]
    fn one_that_is_bound_to_nobody_is_not_given_as_known() {
        let mut codecs = Codecs::new();
        let (mut one, mut other) = (Binding::NONE, Binding::NONE);
        take(&mut codecs, 15, &mut one);
        take(&mut codecs, 15, &mut Binding::NONE.clone());
        assert!(!take(&mut codecs, 15, &mut other) && !take(&mut codecs, 15, &mut one));
    }

    #[test]
    fn what_is_not_used_for_a_minute_is_given_back() {
        let at = |seconds| Instant::from_nanos(0).saturating_add(Duration::from_secs(seconds));
        let account = Rc::<Account>::default();
        let mut codecs = Codecs::new();
        assert!(!codecs.is_needed());
        take(&mut codecs, 15, &mut Binding::NONE.clone());
        let mut take = |_| {
            codecs.inflater().unwrap();
            codecs.take_inflater().unwrap()
        };
        let inflaters: Vec<_> = (0..KEPT_INFLATERS + 3).map(&mut take).collect();
        inflaters.into_iter().for_each(|inflater| codecs.give_inflater(inflater));
        assert_eq!(codecs.inflaters.len(), KEPT_INFLATERS);
        // One that is only used stays.
        assert!(codecs.inflater().is_some() && codecs.inflaters.len() == KEPT_INFLATERS);
        codecs.note_use();
        assert!(codecs.are_used() && codecs.is_needed());
        for now in [100, 159] {
            codecs.tidy(at(now), &account);
            assert_eq!(account.held(), Deflater::BYTES + KEPT_INFLATERS * Inflater::BYTES);
            assert!(!codecs.are_used() && codecs.is_needed());
        }
        codecs.note_use();
        for now in [160, 219] {
            codecs.tidy(at(now), &account);
            assert!(codecs.is_needed());
        }
        codecs.tidy(at(220), &account);
        assert!(!codecs.is_needed() && codecs.deflaters.is_empty() && codecs.inflaters.is_empty());
        assert_eq!(account.held(), 0);
    }
}
