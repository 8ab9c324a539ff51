//! The one read pump: bytes of a connection come into the loop's receive buffer, from its stash or from its socket.

use std::cell::RefCell;
use std::io;

use sockeye_proto::conn::HEADROOM;

use crate::output::pool::{Buffer, Pool};
use crate::output::{Bits, Out};

/// What came.
#[derive(Debug)]
pub(crate) enum Filled {
    /// So many bytes, at `rx[HEADROOM..]`.
    Bytes(usize),
    /// Nothing for now; an edge will tell.
    Nothing,
    /// The peer ended its sending side (RFC 9293 section 3.6). There will be nothing more.
    End,
    /// The connection failed.
    Failed,
}

/// Fills the receive buffer with at most `budget` bytes of a connection, the stash first.
#[inline(always)]
pub(crate) fn fill(out: &mut Out<'_>, stash: &mut Option<Box<Stash>>, rx: &mut [u8], budget: usize) -> Filled {
    if stash.is_some() {
        return unstash(&out.outlet.pool, stash, rx);
    }
    if !out.link.bits.has(Bits::READABLE) || budget == 0 {
        return Filled::Nothing;
    }
    let room = &mut rx[HEADROOM..];
    let most = budget.min(room.len());
    let room = &mut room[..most];
    loop {
        match out.outlet.sys.recv(out.link.handle, room) {
            Ok(count) if count > 0 => {
                out.outlet.statistics.received.bytes += count as u64;
                // A short read means drained, unless the end of input was announced: no edge would come for it.
                if count < room.len() && !out.link.bits.has(Bits::READ_CLOSED | Bits::BROKEN) {
                    out.link.bits.clear(Bits::READABLE);
                }
                return Filled::Bytes(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return nothing(&mut out.link.bits, other),
        }
    }
}

#[cold]
fn nothing(bits: &mut Bits, result: io::Result<usize>) -> Filled {
    match result {
        Ok(_) => {
            bits.clear(Bits::READABLE);
            Filled::End
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            bits.clear(Bits::READABLE);
            Filled::Nothing
        }
        Err(error) => {
            tracing::debug!(%error, "receive failed");
            bits.clear(Bits::READABLE);
            bits.set(Bits::BROKEN);
            Filled::Failed
        }
    }
}

/// What was read and could not be used up: a rest of one fill.
pub(crate) struct Stash(Buffer);

#[cold]
fn unstash(pool: &RefCell<Pool>, stash: &mut Option<Box<Stash>>, rx: &mut [u8]) -> Filled {
    let Some(mut stash) = stash.take() else { return Filled::Nothing };
    let bytes = stash.0.take();
    // Invariant: a stash is a rest of one fill, with what the connection had kept of the fill before in front of it (at
    // most HEADROOM bytes), and the receive buffer has that much more room than a fill.
    debug_assert!(bytes.len() <= rx.len() - HEADROOM, "a stash is larger than the receive buffer");
    let count = bytes.len().min(rx.len() - HEADROOM);
    rx[HEADROOM..HEADROOM + count].copy_from_slice(&bytes[..count]);
    pool.borrow_mut().give(bytes);
    Filled::Bytes(count)
}

/// Keeps what was read and could not be used up now.
#[cold]
pub(crate) fn keep(pool: &RefCell<Pool>, stash: &mut Option<Box<Stash>>, rest: &[u8]) {
    if rest.is_empty() {
        return;
    }
    let mut buffer = pool.borrow_mut().take();
    buffer.extend_from_slice(rest);
    *stash = Some(Box::new(Stash(Buffer(buffer))));
}
