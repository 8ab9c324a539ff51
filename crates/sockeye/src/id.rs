//! Connection ids, and tables keyed by them.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::number_set::NumberSet;

/// Identifies one connection of one service, once: no other connection of the process has the id, of whichever service or
/// thread, as long as both services exist. Written as `service.slot.generation`.
///
/// Once the connection has ended the id is stale: a lookup returns [`Gone`], and never reaches the connection that uses the
/// slot now. The same holds for the id of another service, and for the default id, which no connection has.
///
/// ```
/// use sockeye::{ConnId, Service};
///
/// # fn main() -> Result<(), sockeye::Error> {
/// let mut service = Service::builder().build()?;
/// assert!(service.control().connection(ConnId::default()).is_err());
/// # Ok(()) }
/// ```
///
/// The text can be read back ([`FromStr`]), for an id that travels through a log, a database or another process. An id is a
/// name, not a secret: a sender of ids can name any connection of the service, also of another protocol, by
/// guessing. So decide by what the program knows of the sender what it may do. Text can name nothing but connections: every
/// lookup compares service, slot and generation, so an id that no connection has is [`Gone`].
///
/// ```
/// use sockeye::{Commands, ConnId};
///
/// /// Ends the connection that an administrator named.
/// fn abort(commands: &mut Commands, named: &str) -> Result<(), Box<dyn std::error::Error>> {
///     commands.connection(named.parse::<ConnId>()?)?.abort();
///     Ok(())
/// }
/// ```
// From the top: 16 bits for the service, never 0; 22 for the generation, never 0; 26 for the slot. So the upper half of an id
// is never 0, which tells it from the tokens of listeners.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnId(u64);

impl ConnId {
    fn new(service: u16, generation: u32, slot: usize) -> Self {
        Self(u64::from(service) << (GENERATION_BITS + SLOT_BITS) | u64::from(generation) << SLOT_BITS | slot as u64)
    }

    /// The id as a number, for logs and for tables keyed by numbers.
    #[must_use]
    #[inline]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that [`as_u64`](Self::as_u64) made this number of. Any other number names no connection, and no call does harm
    /// with it: every lookup compares service, slot and generation, so it is [`Gone`].
    #[must_use]
    #[inline]
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The slot's index.
    #[inline]
    pub(crate) fn slot(self) -> usize {
        (self.0 & (MAX_SLOTS - 1)) as usize
    }

    #[inline]
    fn generation(self) -> u32 {
        (self.0 >> SLOT_BITS) as u32 & MAX_GENERATION
    }

    #[inline]
    fn service(self) -> u16 {
        (self.0 >> (GENERATION_BITS + SLOT_BITS)) as u16
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.service(), self.slot(), self.generation())
    }
}

/// What `Display` writes, and no other spelling of it.
impl FromStr for ConnId {
    type Err = InvalidConnId;

    fn from_str(text: &str) -> Result<Self, InvalidConnId> {
        let mut parts = text.splitn(3, '.').map(number);
        let mut next = |most: u64| parts.next().flatten().filter(|number| *number <= most).ok_or(InvalidConnId);
        let service = next(ServiceNumber::MAX.into())?;
        let slot = next(MAX_SLOTS - 1)?;
        let generation = next(MAX_GENERATION.into())?;
        Ok(Self(service << (GENERATION_BITS + SLOT_BITS) | generation << SLOT_BITS | slot))
    }
}

/// A number in decimal digits, without a sign or needless zeros.
fn number(digits: &str) -> Option<u64> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| is_plain)
}

/// The text is not that of a [`ConnId`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct InvalidConnId;

impl fmt::Display for InvalidConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a connection id is written as service.slot.generation")
    }
}

impl Error for InvalidConnId {}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

const SLOT_BITS: u32 = 26;
const GENERATION_BITS: u32 = 22;
const MAX_SLOTS: u64 = 1 << SLOT_BITS;
/// A slot that was used this often is not used again.
const MAX_GENERATION: u32 = (1 << GENERATION_BITS) - 1;

/// Identifies one HTTP request of one service, once: its connection, and a number that is never used again. Written as
/// `service.slot.generation/number`.
///
/// A connection that is kept alive carries one request after another. The id of an answered request is stale:
/// [`Commands::request`](crate::Commands::request) returns [`Gone`], and never the request that the connection carries
/// now.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId {
    connection: ConnId,
    number: u64,
}

impl RequestId {
    pub(crate) fn new(connection: ConnId, number: u64) -> Self {
        Self { connection, number }
    }

    /// The connection that carries the request.
    #[must_use]
    pub fn connection(self) -> ConnId {
        self.connection
    }

    pub(crate) fn number(self) -> u64 {
        self.number
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connection, self.number)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// The number of a service, which no other has while it exists.
#[derive(Debug)]
pub(crate) struct ServiceNumber(u16);

/// The numbers of the process.
struct Numbers {
    last: u16,
    in_use: BTreeSet<u16>,
}

static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers { last: 0, in_use: BTreeSet::new() });

impl ServiceNumber {
    /// The number of a new service: the one that was given back longest ago. `None` when the process has 65,534 services.
    pub(crate) fn next() -> Option<Self> {
        let mut numbers = Numbers::lock();
        let last = numbers.last;
        let number = (last + 1..=Self::MAX).chain(1..=last).find(|number| !numbers.in_use.contains(number))?;
        numbers.last = number;
        numbers.in_use.insert(number);
        Some(Self(number))
    }

    /// All bits of an id are never set together: that is the token of the waker.
    const MAX: u16 = u16::MAX - 1;
}

impl Drop for ServiceNumber {
    fn drop(&mut self) {
        Numbers::lock().in_use.remove(&self.0);
    }
}

impl Numbers {
    fn lock() -> MutexGuard<'static, Self> {
        // A panic under the lock leaves nothing half done.
        NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value for each connection of a service, by id. The id of another connection or service finds nothing.
pub(crate) struct Table<T> {
    service: ServiceNumber,
    slots: Vec<Slot<T>>,
    /// Slots that are in use.
    used: NumberSet,
    /// Slots that can be used again. The first one is next, so that the last ones become free and can be given back.
    free: NumberSet,
    len: usize,
    /// The largest generation of the slots that were given back: new ones begin behind it.
    given_back: u32,
}

struct Slot<T> {
    /// How often the slot was used. The lowest bit says that it is in use, the rest is the generation.
    uses: u32,
    /// Meaningless while the slot is not in use.
    value: T,
}

impl<T> Slot<T> {
    #[inline]
    fn generation(&self) -> u32 {
        self.uses >> 1
    }
}

const USED: u32 = 1;
/// So many slots without a use are kept in any case.
const SPARE_SLOTS: usize = 1024;

impl<T: Copy> Table<T> {
    pub(crate) fn new(service: ServiceNumber) -> Self {
        let (used, free) = (NumberSet::default(), NumberSet::default());
        Self { service, slots: Vec::new(), used, free, len: 0, given_back: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no connection can be added: a service can have 67 million at once.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() as u64 == MAX_SLOTS && self.free.first().is_none()
    }

    /// Inserts a value under an id that was never used before.
    ///
    /// # Panics
    /// When the table [is full](Self::is_full). Peers cannot fill it: accepting pauses before. A program could, with 67
    /// million connects of its own.
    pub(crate) fn insert(&mut self, value: T) -> ConnId {
        assert!(!self.is_full(), "a service has at most {MAX_SLOTS} connections");
        self.len += 1;
        let index = self.free.first().unwrap_or(self.slots.len());
        self.free.remove(index);
        self.used.insert(index);
        let uses = match self.slots.get_mut(index) {
            Some(slot) => {
                // The next generation: such a slot is free, and was not used too often.
                slot.uses = (slot.uses + 2) | USED;
                slot.value = value;
                slot.uses
            }
            None => {
                let uses = (self.given_back + 1) << 1 | USED;
                self.slots.push(Slot { uses, value });
                uses
            }
        };
        ConnId::new(self.service.0, uses >> 1, index)
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<T> {
        let value = *self.get(id)?;
        let slot = self.slots.get_mut(id.slot())?;
        slot.uses &= !USED;
        self.len -= 1;
        self.used.remove(id.slot());
        // An id must not come back. A slot that has used up its generations rests: 12 bytes for four million connections.
        if slot.generation() < MAX_GENERATION {
            self.free.insert(id.slot());
        }
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, id: ConnId) -> Option<&T> {
        let slot = self.slots.get(id.slot())?;
        (slot.uses == id.generation() << 1 | USED && id.service() == self.service.0).then_some(&slot.value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot())?;
        (slot.uses == id.generation() << 1 | USED && id.service() == self.service.0).then_some(&mut slot.value)
    }

    /// Gives back the slots behind the last one in use, if they are the most. Returns how many slots remain then.
    pub(crate) fn give_back(&mut self) -> Option<usize> {
        let needed = self.used.last().map_or(0, |last| last + 1);
        if self.slots.len() <= 2 * needed + SPARE_SLOTS {
            return None;
        }
        // No id may come back, so new slots begin behind all generations of those given back. One that has few generations left
        // stays: the others would have as few.
        let rest = &self.slots[needed..];
        let stays = rest.iter().rposition(|slot| slot.generation() > MAX_GENERATION / 2).map_or(0, |at| at + 1);
        let most = rest[stays..].iter().map(Slot::generation).max()?;
        self.given_back = self.given_back.max(most);
        let remain = needed + stays;
        self.slots.truncate(remain);
        self.slots.shrink_to(remain);
        self.used.truncate(remain);
        self.free.truncate(remain);
        Some(remain)
    }

    pub(crate) fn contains_key(&self, id: ConnId) -> bool {
        self.get(id).is_some()
    }

    /// What is in a slot.
    #[inline]
    pub(crate) fn at(&self, slot: usize) -> Option<(ConnId, &T)> {
        let found = self.slots.get(slot).filter(|slot| slot.uses & USED != 0)?;
        Some((ConnId::new(self.service.0, found.generation(), slot), &found.value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        let service = self.service.0;
        let slots = self.used.iter().filter_map(|index| Some((index, self.slots.get(index)?)));
        slots.map(move |(index, slot)| (ConnId::new(service, slot.generation(), index), &slot.value))
    }

    /// Calls `change` with each value.
    pub(crate) fn for_each_mut(&mut self, mut change: impl FnMut(ConnId, &mut T)) {
        for index in self.used.iter() {
            if let Some(slot) = self.slots.get_mut(index) {
                change(ConnId::new(self.service.0, slot.generation(), index), &mut slot.value);
            }
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = ConnId> {
        self.iter().map(|(id, _)| id)
    }
}

/// Identifies the builder of a service: handles of another are not valid for it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct BuilderId(u64);

impl BuilderId {
    /// The identity as a number.
    pub(crate) fn as_u64(self) -> u64 {
        self.0
    }

    /// An identity that is unique in the process.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// A listener of a service: what [`Builder::add_listener`](crate::Builder::add_listener) and
/// [`Control::listen`](crate::Control::listen) return. It is `Copy`, and no other listener of the process
/// ever has it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ListenerHandle {
    pub(crate) builder: BuilderId,
    pub(crate) number: u64,
}

/// The connection has already ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection has ended")
    }
}

impl Error for Gone {}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<char> {
        Table::new(ServiceNumber::next().unwrap())
    }

    #[test]
    fn an_id_is_written_in_one_way() {
        let mut table = table();
        let number = table.service.0;
        let first = table.insert('a');
        assert_eq!(first.to_string(), format!("{number}.0.1"));
        assert_eq!(format!("{first:?}"), format!("ConnId({first})"));
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert('b');
        assert_eq!(second.to_string(), format!("{number}.0.2"));
        assert_eq!((table.get(first), table.get(second)), (None, Some(&'b')));
        assert_eq!(ConnId::from_u64(second.as_u64()), second);
        assert_eq!((size_of::<ConnId>(), size_of::<Slot<u64>>(), size_of::<Slot<[u32; 2]>>()), (8, 16, 12));
    }

    #[test]
    fn an_id_is_read_back_from_its_text() {
        let mut table = table();
        let id = table.insert('a');
        let last = ConnId::new(ServiceNumber::MAX, MAX_GENERATION, MAX_SLOTS as usize - 1);
        assert_eq!(last.to_string(), "65534.67108863.4194303");
        for id in [id, last, ConnId::default()] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        // Each spelling is of one id, and no number reaches into the bits of another.
        for text in [
            "",
            ".",
            "..",
            "1",
            "1.2",
            "1.2.",
            ".1.2",
            "1..2",
            "1.2.3.",
            "1.2.3.4",
            " 1.2.3",
            "1.2.3 ",
            "1.2.3\n",
            "+1.2.3",
            "-1.2.3",
            "1.-2.3",
            "01.2.3",
            "1.00.3",
            "1.2.03",
            "0x1.2.3",
            "1.2.3/4",
            "1,2,3",
            "a.b.c",
            "١.٢.٣",
            "1.2.3\0",
            "65535.0.1",
            "1.67108864.1",
            "1.0.4194304",
            "18446744073709551616.0.1",
            "1.18446744073709551616.1",
            "ConnId(1.2.3)",
        ] {
            assert_eq!(text.parse::<ConnId>(), Err(InvalidConnId), "{text:?}");
        }
        assert_eq!(InvalidConnId.to_string(), "a connection id is written as service.slot.generation");
    }

    #[test]
    fn the_text_of_an_id_that_no_connection_has_finds_nothing() {
        let mut table = table();
        let (id, service) = (table.insert('a'), table.service.0);
        table.remove(id);
        table.insert('b');
        let parts = [
            format!("{service}.0.1"),
            format!("{service}.0.3"),
            format!("{service}.1.1"),
            format!("{service}.0.0"),
            "0.0.2".into(),
        ];
        for text in parts {
            assert_eq!(table.get(text.parse().unwrap()), None, "{text}");
        }
        assert_eq!(table.get(format!("{service}.0.2").parse().unwrap()), Some(&'b'));
    }

    #[test]
    fn no_table_takes_the_default_id_or_that_of_another() {
        let (mut table, mut other) = (table(), table());
        assert_eq!(table.get(ConnId::default()), None);
        let (id, foreign) = (table.insert('a'), other.insert('b'));
        assert_ne!(id, foreign);
        assert_eq!((id.slot(), id.generation()), (foreign.slot(), foreign.generation()));
        for id in [ConnId::default(), foreign] {
            assert!(table.get(id).is_none() && table.get_mut(id).is_none() && table.remove(id).is_none());
        }
        assert_eq!((table.get(id), table.len()), (Some(&'a'), 1));
        // The next service has a number of its own, also when another one ended meanwhile.
        drop(other);
        assert_eq!(self::table().get(foreign), None);
    }

    #[test]
    fn a_slot_that_has_used_up_its_generations_is_not_used_again() {
        let mut table = table();
        let first = table.insert('a');
        let mut id = first;
        for _ in 1..MAX_GENERATION {
            table.remove(id);
            id = table.insert('a');
        }
        assert_eq!((id.slot(), id.generation()), (0, MAX_GENERATION));
        assert_eq!((table.get(id), table.get(first)), (Some(&'a'), None));
        table.remove(id);
        let next = table.insert('b');
        assert_eq!((next.slot(), next.generation(), table.len()), (1, 1, 1));
        assert_eq!((table.get(first), table.get(id), table.iter().count()), (None, None, 1));
    }

    #[test]
    fn a_removed_value_is_not_walked_over() {
        let mut table = table();
        let ids = ['a', 'b', 'c'].map(|value| table.insert(value));
        table.remove(ids[1]);
        assert_eq!(table.keys().collect::<Vec<_>>(), [ids[0], ids[2]]);
        table.for_each_mut(|_, value| *value = 'd');
        assert_eq!(table.iter().collect::<Vec<_>>(), [(ids[0], &'d'), (ids[2], &'d')]);
        assert!(!table.is_empty() && !table.is_full());
    }

    #[test]
    fn what_a_crowd_had_is_given_back_and_no_id_comes_back() {
        let mut table = table();
        let mut seen = BTreeSet::new();
        let mut stale = Vec::new();
        for round in 0..5 {
            let crowd: Vec<_> = (0..100_000).map(|_| table.insert('a')).collect();
            assert!(crowd.iter().all(|id| seen.insert(*id)), "round {round}");
            assert_eq!((table.give_back(), table.slots.len()), (None, 100_000));
            for id in &crowd[10..] {
                table.remove(*id);
            }
            assert_eq!((table.give_back(), table.give_back()), (Some(10), None));
            assert!(table.slots.capacity() < 100, "{}", table.slots.capacity());
            assert_eq!((table.len(), table.keys().collect::<Vec<_>>()), (10, crowd[..10].to_vec()));
            stale.push(crowd[50_000]);
            crowd[..10].iter().for_each(|id| _ = table.remove(*id));
        }
        let last = table.insert('b');
        assert!(seen.insert(last) && stale.iter().all(|id| table.get(*id).is_none()));
    }

    #[test]
    fn the_first_free_slot_is_used_so_that_the_last_ones_become_free() {
        let mut table = table();
        let ids: Vec<_> = (0..5000).map(|_| table.insert('a')).collect();
        // Those who stay do not hold the slots of those who went: each that comes anew moves to the front.
        for id in &ids[..4990] {
            table.remove(*id);
        }
        assert_eq!(table.give_back(), None);
        for id in &ids[4990..] {
            let next = table.insert('b');
            assert!(next.slot() < 10);
            table.remove(*id);
        }
        assert_eq!(table.give_back(), Some(10));
    }

    #[test]
    fn a_slot_that_was_used_often_is_not_given_back() {
        let mut table = table();
        let crowd: Vec<_> = (0..5000).map(|_| table.insert('a')).collect();
        let often = crowd[3000].slot();
        table.slots[often].uses = (MAX_GENERATION / 2 + 1) << 1 | USED;
        crowd.iter().filter(|id| id.slot() != often).for_each(|id| _ = table.remove(*id));
        let id = table.keys().next().unwrap();
        table.remove(id);
        assert_eq!((table.give_back(), table.give_back()), (Some(often + 1), None));
        let next: Vec<_> = (0..often + 2).map(|_| table.insert('a')).collect();
        assert_eq!((next[often].generation(), next[often + 1].generation()), (MAX_GENERATION / 2 + 2, 2));
    }

    #[test]
    fn an_id_is_never_the_token_of_a_listener_or_of_the_waker() {
        for id in [ConnId::new(1, 1, 0), ConnId::new(ServiceNumber::MAX, MAX_GENERATION, MAX_SLOTS as usize - 1)] {
            assert!(id.as_u64() >> 32 != 0 && id.as_u64() != u64::MAX);
        }
    }
}
