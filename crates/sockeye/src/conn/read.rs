//! The one read pump: bytes of a connection come into the loop's receive buffer, from its stash or from its socket.

use std::cell::RefCell;
use std::io;

use sockeye_proto::conn::HEADROOM;

use crate::conn::output::Bits;
use crate::conn::pool::Pool;
use crate::conn::{Conn, Stage};

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

/// Fills the loop's receive buffer with at most `budget` bytes of `conn`, the stash first.
#[inline]
pub(crate) fn fill(stage: &mut Stage<'_>, conn: &mut Conn, budget: usize) -> Filled {
    if conn.stash.is_some() {
        return unstash(stage, conn);
    }
    if !conn.bits.has(Bits::READABLE) || budget == 0 {
        return Filled::Nothing;
    }
    let room = budget.min(stage.rx.len() - HEADROOM);
    loop {
        match stage.sys.recv(conn.handle, &mut stage.rx[HEADROOM..HEADROOM + room]) {
            Ok(0) => {
                conn.bits.clear(Bits::READABLE);
                return Filled::End;
            }
            Ok(count) => {
                // A short read means drained, unless the end of input was announced: no edge would come for it.
                if count < room && !conn.bits.has(Bits::READ_CLOSED) && !conn.bits.has(Bits::BROKEN) {
                    conn.bits.clear(Bits::READABLE);
                }
                return Filled::Bytes(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.bits.clear(Bits::READABLE);
                return Filled::Nothing;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(peer = %conn.peer, %error, "receive failed");
                conn.bits.clear(Bits::READABLE);
                conn.bits.set(Bits::BROKEN);
                return Filled::Failed;
            }
        }
    }
}

/// What was read and could not be used up: a rest of one fill.
pub(crate) struct Stash(Vec<u8>);

#[cold]
fn unstash(stage: &mut Stage<'_>, conn: &mut Conn) -> Filled {
    let Some(stash) = conn.stash.take() else { return Filled::Nothing };
    let Stash(bytes) = *stash;
    // Invariant: a stash is a rest of one fill, so it fits.
    let count = bytes.len().min(stage.rx.len() - HEADROOM);
    stage.rx[HEADROOM..HEADROOM + count].copy_from_slice(&bytes[..count]);
    stage.pool.borrow_mut().give(bytes);
    Filled::Bytes(count)
}

/// Keeps what was read and could not be used up now.
#[cold]
pub(crate) fn stash(pool: &RefCell<Pool>, stash: &mut Option<Box<Stash>>, rest: &[u8]) {
    if rest.is_empty() {
        return;
    }
    let mut buffer = pool.borrow_mut().take();
    buffer.extend_from_slice(rest);
    *stash = Some(Box::new(Stash(buffer)));
}
