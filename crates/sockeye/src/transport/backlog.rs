//! Bytes that a socket did not take yet.

use std::cell::RefCell;
use std::collections::{TryReserveError, VecDeque};
use std::rc::Rc;

use crate::transport::account::Charge;
use crate::transport::pool::{Buffer, MAPPED, Pool, make_room, release};

/// A piece of the backlog that small rests are gathered in. It is twice the size from which the allocator maps a block by
/// itself, so that the memory of a peer that was far behind goes back to the system and leaves no holes.
const PIECE: usize = 2 * MAPPED;

/// Output that waits for a socket, in order.
#[derive(Default)]
pub(super) struct Backlog {
    pub(super) pieces: VecDeque<Piece>,
    /// Invariant: the sum of the unsent bytes of the pieces.
    len: usize,
    /// The memory of the pieces that are not shared; a shared one counts for itself.
    held: Charge,
    /// Bytes that the socket took since [`take_progress`](Self::take_progress) was last called.
    progress: usize,
}

pub(super) struct Piece {
    data: Data,
    /// Invariant: `sent < data.len()`.
    sent: usize,
}

pub(super) enum Data {
    Owned(Vec<u8>),
    Shared(Rc<Buffer>),
}

impl Piece {
    pub(super) fn unsent(&self) -> &[u8] {
        let all = match &self.data {
            Data::Owned(bytes) => bytes.as_slice(),
            Data::Shared(bytes) => bytes.0.as_slice(),
        };
        &all[self.sent..]
    }
}

impl Backlog {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes the socket took since this was last called.
    pub(super) fn take_progress(&mut self) -> usize {
        std::mem::take(&mut self.progress)
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8], pool: &RefCell<Pool>) -> Result<(), TryReserveError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(Piece { data: Data::Owned(last), .. }) = self.pieces.back_mut() {
            if last.len() + bytes.len() <= PIECE {
                let before = last.capacity();
                make_room_in_piece(last, bytes.len())?;
                last.extend_from_slice(bytes);
                let grown = last.capacity() - before;
                self.len += bytes.len();
                self.held.set(pool.borrow().account(), self.held.bytes() + grown);
                return Ok(());
            }
        }
        let mut buffer = pool.borrow_mut().take();
        make_room_in_piece(&mut buffer, bytes.len())?;
        buffer.extend_from_slice(bytes);
        self.push_piece(Data::Owned(buffer), 0, pool);
        Ok(())
    }

    pub(super) fn push_piece(&mut self, data: Data, sent: usize, pool: &RefCell<Pool>) {
        let piece = Piece { data, sent };
        if piece.unsent().is_empty() {
            return;
        }
        self.len += piece.unsent().len();
        match &piece.data {
            Data::Owned(bytes) => self.held.set(pool.borrow().account(), self.held.bytes() + bytes.capacity()),
            Data::Shared(bytes) => bytes.hold(pool.borrow().account()),
        }
        self.pieces.push_back(piece);
    }

    /// How much memory is held for the peer, its part of what is shared included.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.bytes().max(self.len)
    }

    /// The socket took `count` bytes from the front.
    pub(super) fn advance(&mut self, mut count: usize, pool: &RefCell<Pool>) {
        self.len -= count;
        self.progress += count;
        while let Some(front) = self.pieces.front_mut() {
            let unsent = front.unsent().len();
            if count < unsent {
                front.sent += count;
                return;
            }
            count -= unsent;
            if let Some(Piece { data: Data::Owned(buffer), .. }) = self.pieces.pop_front() {
                self.held.set(pool.borrow().account(), self.held.bytes() - buffer.capacity());
                pool.borrow_mut().give(buffer);
            }
        }
    }
}

/// Makes room in a piece. More than a few frames go into a block of the full size at once: the allocator maps it, also
/// after the program has freed messages that taught it to keep smaller blocks on its heap, and it costs only the pages that
/// are written.
fn make_room_in_piece(buffer: &mut Vec<u8>, more: usize) -> Result<(), TryReserveError> {
    let needed = buffer.len().saturating_add(more);
    if needed <= buffer.capacity() {
        return Ok(());
    }
    if needed <= SHORT {
        return buffer.try_reserve(more);
    }
    let mut block = Vec::new();
    make_room(&mut block, needed.max(PIECE), usize::MAX)?;
    block.extend_from_slice(buffer);
    release(std::mem::replace(buffer, block));
    Ok(())
}

/// A piece of at most this many bytes is on the allocator's heap.
const SHORT: usize = 4 * 1024;

/// A connection that breaks with much unsent leaves no memory behind.
impl Drop for Backlog {
    fn drop(&mut self) {
        for piece in self.pieces.drain(..) {
            if let Data::Owned(buffer) = piece.data {
                release(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_backlog_of_small_frames_is_in_few_large_pieces() {
        let (mut backlog, pool) = (Backlog::default(), RefCell::new(Pool::default()));
        for _ in 0..10_000 {
            backlog.push_bytes(&[7; 100], &pool).unwrap();
        }
        assert_eq!((backlog.pieces.len(), backlog.len()), (4, 1_000_000));
    }
}
