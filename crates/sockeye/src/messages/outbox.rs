//! Messages that wait to be sent to one peer, within a limit.
//!
//! What can leave at once does not come here. Many answers consist of bytes that just arrived: an echo, a relay. Such a message is
//! kept as a range of the receive buffer and sent from there if the socket takes data later in the same step, without a
//! copy. The rest is copied at the end of the step, because the buffer is reused.

use std::borrow::Cow;
use std::collections::{TryReserveError, VecDeque};
use std::error::Error;
use std::fmt;

use sockeye_proto::close::CloseCode;
use sockeye_proto::wire::MessageKind;

use crate::messages::Message;
use crate::protocol::{Commands, Cx, Writable};

/// A message under this many bytes is appended to the shared buffer. A larger one has its own buffer, which the allocator maps
/// by itself: blocks of middling size, many for each peer of a crowd, would leave a large heap behind.
const SMALL: u32 = 128 * 1024;
/// An outbox with this many bytes pauses reading, even if its limit is higher.
const PAUSE: usize = 512 * 1024;

/// The messages that wait for one connection's socket. It never holds more than its limit, of which each message takes
/// its payload and 64 bytes.
#[derive(Default)]
pub struct Outbox {
    /// Pieces of the loop's receive buffer, before all `items`; only until
    /// [`release_input`](Self::release_input). The first `sent_spots` are sent.
    spots: Vec<Spot>,
    sent_spots: usize,
    items: VecDeque<Item>,
    /// The payloads of those items that are not small.
    large: VecDeque<Vec<u8>>,
    /// The small messages, one behind another; `taken` bytes of it are sent.
    small: Vec<u8>,
    taken: usize,
    /// Invariant: what waits costs this much, see [`cost`]; `load <= limit`.
    load: usize,
    limit: usize,
    /// Reading pauses from this load on.
    mark: usize,
}

/// A message that waits. It is kept short: a crowd of small messages must cost little beside their payloads.
struct Item {
    place: Place,
    kind: MessageKind,
}

/// A message in the receive buffer. 32 bits are enough for the buffer of a loop.
#[derive(Clone, Copy)]
struct Spot {
    start: u32,
    len: u32,
    kind: MessageKind,
}

/// The place of a payload.
enum Place {
    /// So many bytes, next in `small`.
    Small(u32),
    /// Next in `large`.
    Large,
}

impl Outbox {
    /// The number of waiting messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len() + self.spots.len() - self.sent_spots
    }

    /// Whether no message waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Every message has a cost.
        self.load == 0
    }

    /// The number of waiting payload bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.load - self.len() * MESSAGE
    }

    /// About how much memory it takes.
    pub(super) fn memory(&self) -> usize {
        self.load.max(self.small.len())
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.mark = PAUSE.min(limit / 2).max(1);
    }

    /// Whether reading should pause.
    #[inline]
    pub(super) fn is_well_filled(&self) -> bool {
        self.load >= self.mark
    }

    /// Whether at most `bytes` wait, as [`cost`] counts.
    #[inline]
    pub(super) fn is_under(&self, bytes: usize) -> bool {
        self.load <= bytes
    }

    /// Whether a message of `len` bytes fits.
    #[inline(always)]
    pub(super) fn has_room(&self, len: usize) -> bool {
        cost(len) <= self.limit - self.load
    }

    /// Adds a message. One that is part of the input just received stays where it is: most leave in
    /// the same step.
    #[inline(always)]
    pub(super) fn push<'m>(&mut self, message: Message<'m>, cx: &mut Cx<'_>) -> Result<(), Full<'m>> {
        let (bytes, kind) = (message.as_bytes(), message.kind());
        let len = bytes.len();
        if !self.has_room(len) {
            return Err(Full(message));
        }
        if cx.has_waiting() {
            return self.push_behind(message, cx);
        }
        if self.items.is_empty() {
            if let Some(range) = cx.input_range(bytes) {
                if let (Ok(start), Ok(len)) = (u32::try_from(range.start), u32::try_from(len)) {
                    self.load += cost(len as usize);
                    self.spots.push(Spot { start, len, kind });
                    return Ok(());
                }
            }
        }
        self.push_item(message, len, kind, cx)
    }

    /// Puts a message behind what was published or pushed before, which is newer than all messages of the outbox.
    #[cold]
    fn push_behind<'m>(&self, message: Message<'m>, cx: &mut Cx<'_>) -> Result<(), Full<'m>> {
        if cx.connection.push(&message).is_err() {
            return Err(Full(message));
        }
        if self.load.saturating_add(cx.queued_bytes()) >= self.mark {
            cx.set_back_pressure(true);
            cx.request_writable();
        }
        Ok(())
    }

    /// Memory that cannot be had is as good as an outbox without room.
    #[cold]
    fn push_item<'m>(
        &mut self,
        message: Message<'m>,
        len: usize,
        kind: MessageKind,
        commands: &mut Commands,
    ) -> Result<(), Full<'m>> {
        let place = match message {
            Message::Text(Cow::Owned(text)) => self.own(text.into_bytes()),
            Message::Binary(Cow::Owned(payload)) => self.own(payload),
            borrowed => match self.copy(borrowed.as_bytes(), commands) {
                Ok(place) => place,
                Err(_) => return Err(Full(borrowed)),
            },
        };
        self.load += cost(len);
        self.queue(Item { place, kind });
        Ok(())
    }

    /// Puts an item behind all others. Its place, as a payload's, is in a small block or in a large one that is mapped by itself.
    fn queue(&mut self, item: Item) {
        let places = self.items.capacity();
        if self.items.len() == places && (HEAP_ITEMS / 2..MAPPED_ITEMS).contains(&places) {
            // If it cannot be had, the list grows as any other.
            let _ = self.items.try_reserve_exact(MAPPED_ITEMS - places);
        }
        self.items.push_back(item);
    }

    fn own(&mut self, payload: Vec<u8>) -> Place {
        self.large.push_back(payload);
        Place::Large
    }

    fn copy(&mut self, payload: &[u8], commands: &mut Commands) -> Result<Place, TryReserveError> {
        if let Some(len) = u32::try_from(payload.len()).ok().filter(|&len| len < SMALL) {
            commands.extend_buffer(&mut self.small, payload, self.limit)?;
            return Ok(Place::Small(len));
        }
        let mut buffer = Vec::new();
        commands.extend_buffer(&mut buffer, payload, payload.len())?;
        Ok(self.own(buffer))
    }

    /// Sends while there is a permission. `input` is the bytes of the current read.
    #[inline(always)]
    pub(super) fn send<'t>(&mut self, permission: Option<Writable<'t>>, input: &[u8]) -> Option<Writable<'t>> {
        let mut permission = permission;
        for spot in self.spots.get(self.sent_spots..).unwrap_or_default() {
            let writable = permission?;
            let payload = piece(input, spot.start as usize, spot.len as usize);
            let kind = spot.kind;
            self.sent_spots += 1;
            self.load -= cost(payload.len());
            permission = writable.send(kind, payload).more_or_last();
        }
        self.spots.clear();
        self.sent_spots = 0;
        if self.items.is_empty() { permission } else { self.send_items(permission) }
    }

    #[cold]
    fn send_items<'t>(&mut self, permission: Option<Writable<'t>>) -> Option<Writable<'t>> {
        let mut permission = permission;
        while let Some(writable) = permission {
            let Some(item) = self.items.pop_front() else {
                permission = Some(writable);
                break;
            };
            let sent = match item.place {
                Place::Small(len) => {
                    let len = len as usize;
                    self.load -= cost(len);
                    let payload = piece(&self.small, self.taken, len);
                    self.taken += len;
                    writable.send(item.kind, payload)
                }
                Place::Large => {
                    let payload = self.large.pop_front().unwrap_or_default();
                    self.load -= cost(payload.len());
                    writable.send_owned(item.kind, payload)
                }
            };
            permission = sent.more_or_last();
        }
        self.compact();
        permission
    }

    /// Copies messages out of the receive buffer, which is about to be reused.
    #[cold]
    pub(super) fn release_input(&mut self, cx: &mut Cx<'_>) {
        if self.spots.is_empty() {
            return;
        }
        let input = cx.input();
        // They come before all items, and small payloads are in the order of their items.
        let mut items = std::mem::take(&mut self.items);
        let mut large = std::mem::take(&mut self.large);
        let small = std::mem::take(&mut self.small);
        let mut taken = std::mem::take(&mut self.taken);
        for index in self.sent_spots..self.spots.len() {
            let spot = self.spots[index];
            let payload = piece(input, spot.start as usize, spot.len as usize);
            let place = match self.copy(payload, cx) {
                Ok(place) => place,
                Err(error) => return self.fail(&error, cx),
            };
            self.queue(Item { place, kind: spot.kind });
        }
        self.spots.clear();
        self.sent_spots = 0;
        for item in items.drain(..) {
            if let Place::Small(len) = item.place {
                if let Err(error) = cx.extend_buffer(&mut self.small, piece(&small, taken, len as usize), self.limit) {
                    return self.fail(&error, cx);
                }
                taken += len as usize;
            }
            self.queue(item);
        }
        self.large.append(&mut large);
        // The memory of a burst is released, large blocks in a way that keeps the allocator from
        // retaining them.
        items.shrink_to(1);
        cx.give_buffer(small);
    }

    /// Messages that wait cannot be kept, so nothing may be sent behind them.
    #[cold]
    fn fail(&mut self, error: &TryReserveError, cx: &mut Cx<'_>) {
        tracing::warn!(id = %cx.id(), peer = %cx.peer(), %error, "no memory for messages that wait; the connection is closed");
        self.clear(cx);
        cx.close(CloseCode::INTERNAL);
    }

    /// Moves all waiting messages behind those of another outbox. None may still be in the receive
    /// buffer.
    #[cold]
    pub(super) fn move_to(&mut self, other: &mut Self) {
        debug_assert!(self.spots.is_empty(), "messages in the receive buffer are copied first");
        if other.items.is_empty() {
            // Usually nothing waits there, and the buffers change hands.
            std::mem::swap(&mut self.small, &mut other.small);
            other.taken = std::mem::take(&mut self.taken);
            std::mem::swap(&mut self.items, &mut other.items);
            other.large.append(&mut self.large);
            other.load += self.load;
            self.forget();
            return;
        }
        let mut taken = self.taken;
        for item in self.items.drain(..) {
            if let Place::Small(len) = item.place {
                other.small.extend_from_slice(piece(&self.small, taken, len as usize));
                taken += len as usize;
            }
            other.queue(item);
        }
        other.large.append(&mut self.large);
        other.load += self.load;
        self.forget();
    }

    /// Removes the small messages that were sent.
    fn compact(&mut self) {
        if self.items.is_empty() {
            self.small.clear();
            self.taken = 0;
            // The memory of a burst must not be kept.
            if self.small.capacity() > KEEP || self.items.capacity() > HEAP_ITEMS || self.large.capacity() > HEAP_LARGE
            {
                self.small.shrink_to(KEEP);
                self.items.shrink_to(HEAP_ITEMS);
                self.large.shrink_to(HEAP_LARGE);
            }
        } else if self.taken > self.small.len() / 2 {
            self.small.drain(..self.taken);
            self.taken = 0;
            // Nor while a few messages wait all the time.
            if self.small.capacity() > KEEP && self.small.capacity() / 4 > self.small.len() {
                self.small.shrink_to(KEEP.max(self.small.len()));
            }
        }
    }

    /// Shrinks an empty outbox that is not in use: spare outboxes must not all keep the memory of a
    /// burst.
    pub(super) fn shrink(&mut self) {
        self.small.shrink_to(SPARE);
        self.items.shrink_to(SPARE / size_of::<Item>());
        self.large.shrink_to(SPARE / size_of::<Vec<u8>>());
        self.spots.shrink_to(SPARE / size_of::<Spot>());
    }

    /// Drops what waits.
    pub(super) fn clear(&mut self, commands: &mut Commands) {
        self.items.clear();
        self.large.drain(..).for_each(|payload| commands.give_buffer(payload));
        self.forget();
    }

    /// Nothing waits any longer: clears the places.
    fn forget(&mut self) {
        self.spots.clear();
        self.sent_spots = 0;
        self.load = 0;
        self.taken = 0;
        self.compact();
    }
}

/// The bytes of an item. Items are always in range; if one is not, an empty slice is better than a
/// panic.
#[inline]
fn piece(bytes: &[u8], start: usize, len: usize) -> &[u8] {
    bytes.get(start..start.saturating_add(len)).unwrap_or_default()
}

/// The cost of a message beside its payload, so that small and empty ones are bounded too.
const MESSAGE: usize = 64;

/// The cost of a message of `len` bytes against an outbox's limit.
#[inline]
fn cost(len: usize) -> usize {
    len.saturating_add(MESSAGE)
}

/// Capacity for small messages that an empty outbox keeps.
const KEEP: usize = 256 * 1024;
/// So many places fit in the largest block that a peer's list has on the heap, and so many in the smallest one that is mapped,
/// as the buffers of [`Commands::extend_buffer`].
const HEAP_ITEMS: usize = 4 * 1024 / size_of::<Item>();
const MAPPED_ITEMS: usize = 160 * 1024 / size_of::<Item>();
/// So many long messages an empty outbox keeps places for.
const HEAP_LARGE: usize = 4 * 1024 / size_of::<Vec<u8>>();

/// And the capacity of each kind that a spare one keeps.
const SPARE: usize = 4 * 1024;

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("messages", &self.len()).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// The outbox has no room for this message, which is returned.
///
/// ```
/// use sockeye::messages::{Full, MessageCx};
///
/// fn answer(cx: &mut MessageCx<'_, '_>, text: &str) {
///     if let Err(Full(message)) = cx.push(text) {
///         println!("{} is {} bytes behind and misses {message:?}", cx.id(), cx.outbox().bytes());
///     }
/// }
/// # let _ = answer;
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it is what it holds")]
pub struct Full<'m>(pub Message<'m>);

impl fmt::Display for Full<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the outbox has no room for a message of {} bytes", self.0.as_bytes().len())
    }
}

impl Error for Full<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::pool::{BLOCK, HEAP, MAPPED, make_room};

    fn small(outbox: &mut Outbox, len: usize) {
        make_room(&mut outbox.small, len, outbox.limit).unwrap();
        outbox.small.resize(outbox.small.len() + len, 7);
        outbox.items.push_back(Item { place: Place::Small(len as u32), kind: MessageKind::Binary });
        outbox.load += cost(len);
    }

    fn outbox() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.set_limit(17 << 20);
        outbox
    }

    /// What a peer that becomes busy keeps is moved out of the scratch outbox.
    #[test]
    fn what_is_moved_is_not_on_the_heap() {
        let (mut scratch, mut own) = (outbox(), outbox());
        small(&mut scratch, 60_000);
        scratch.move_to(&mut own);
        let capacity = own.small.capacity();
        assert!(!(HEAP + 1..MAPPED).contains(&capacity), "a block of {capacity} bytes is on the heap");

        assert_eq!((HEAP_ITEMS, MAPPED_ITEMS), (HEAP / size_of::<Item>(), BLOCK / size_of::<Item>()));
        for _ in 0..2 * MAPPED_ITEMS {
            own.queue(Item { place: Place::Large, kind: MessageKind::Text });
            let bytes = own.items.capacity() * size_of::<Item>();
            assert!(!(HEAP + 1..MAPPED).contains(&bytes), "a list of {bytes} bytes is on the heap");
        }
    }

    /// The scratch outbox lives as long as its protocol.
    #[test]
    fn places_of_owned_messages_are_not_kept_after_a_burst() {
        let (mut scratch, mut own) = (outbox(), outbox());
        for _ in 0..200_000 {
            scratch.large.push_back(Vec::new());
            scratch.items.push_back(Item { place: Place::Large, kind: MessageKind::Binary });
            scratch.load += cost(0);
        }
        scratch.move_to(&mut own);
        let (items, large) = (scratch.items.capacity(), scratch.large.capacity());
        assert!(items <= HEAP_ITEMS && large <= HEAP_LARGE, "{items} and {large} places are kept");
    }

    /// A peer that takes all but the last message of a burst leaves an outbox that is never empty.
    #[test]
    fn an_outbox_that_is_nearly_empty_counts_what_it_holds() {
        let mut outbox = outbox();
        for _ in 0..300 {
            small(&mut outbox, 16 * 1024);
        }
        for _ in 0..299 {
            outbox.items.pop_front();
            outbox.load -= cost(16 * 1024);
            outbox.taken += 16 * 1024;
        }
        outbox.compact();
        let (capacity, counted) = (outbox.small.capacity(), outbox.memory());
        assert!(capacity <= counted + KEEP, "{capacity} bytes are held, {counted} are counted");
    }
}
