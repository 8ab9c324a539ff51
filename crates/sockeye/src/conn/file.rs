//! Bodies of answers on their way out, piece by piece as the socket takes them: a file is read in the writable step, and
//! bytes are sent from where they are. So neither a large body nor a slow reader holds a copy in memory.

use std::borrow::Cow;

use crate::conn::env::Env;
use crate::conn::step::Step;
use crate::conn::wire::Wire;
use crate::http::FileBody;
use crate::http::access::Access;
use crate::sys::CloseHow;
use crate::transport::pool::{Buffer, HEAP, MAPPED, make_room};
use crate::transport::{CORK, SocketWriter};

/// What is still to be sent of a body.
pub(super) enum Rest {
    File(FileBody),
    /// The first `sent` bytes were sent.
    Bytes {
        bytes: Page,
        sent: usize,
    },
}

/// Bytes in memory; those that are owned go back to the system at their end.
pub(super) enum Page {
    Static(&'static [u8]),
    Owned(Buffer),
}

impl Page {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Owned(buffer) => &buffer.0,
        }
    }

    /// The same bytes, in a block that goes back to the system at its end, whatever lies behind it on the heap: pages that
    /// wait for a crowd must not stay behind.
    fn off_the_heap(self) -> Self {
        match self {
            Self::Owned(buffer) if (HEAP + 1..MAPPED).contains(&buffer.0.capacity()) => {
                let mut block = Vec::new();
                if make_room(&mut block, buffer.0.len(), usize::MAX).is_err() {
                    return Self::Owned(buffer);
                }
                block.extend_from_slice(&buffer.0);
                Self::Owned(Buffer::new(block))
            }
            page => page,
        }
    }
}

impl Rest {
    pub(super) fn of_bytes(bytes: Cow<'static, [u8]>) -> Self {
        let bytes = match bytes {
            Cow::Borrowed(bytes) => Page::Static(bytes),
            Cow::Owned(bytes) => Page::Owned(Buffer::new(bytes)),
        };
        Self::Bytes { bytes, sent: 0 }
    }

    /// How much memory it takes.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Bytes { bytes: Page::Owned(buffer), .. } => buffer.0.capacity(),
            Self::Bytes { bytes: Page::Static(_), .. } | Self::File(_) => 0,
        }
    }

    /// Bytes still to send.
    pub(super) fn remaining(&self) -> u64 {
        match self {
            Self::File(file) => file.remaining(),
            Self::Bytes { bytes, sent } => (bytes.bytes().len() - sent) as u64,
        }
    }
}

/// Sends pieces while the socket takes them. `rest` is `None` once all of it was sent or corked.
pub(super) fn send_rest(
    rest: &mut Option<Rest>,
    access: &mut Access,
    wire: &mut Wire,
    env: &mut Env,
    budget: &mut usize,
) -> Result<(), CloseHow> {
    match rest.take() {
        None => Ok(()),
        Some(Rest::File(file)) => {
            let mut file = Some(file);
            let sent = send_file(&mut file, access, wire, env, budget);
            *rest = file.map(Rest::File);
            sent
        }
        Some(Rest::Bytes { bytes: page, mut sent }) => {
            let bytes = page.bytes();
            if wire.socket.has_backlog() {
                SocketWriter::new(&mut env.io, &mut wire.socket).flush();
            }
            while sent < bytes.len() && wire.socket.is_clear() && *budget > 0 {
                let end = bytes.len().min(sent.saturating_add(*budget));
                let count = SocketWriter::new(&mut env.io, &mut wire.socket).send_some(&bytes[sent..end]);
                access.sent(count);
                *budget -= count;
                sent += count;
            }
            if sent < bytes.len() {
                *rest = Some(Rest::Bytes { bytes: page.off_the_heap(), sent });
            }
            Ok(())
        }
    }
}

/// When the rest goes on: in the next turn, or when the socket takes more.
pub(super) fn send_rest_later<N>(wire: &Wire, budget: usize) -> Step<N> {
    match budget {
        0 => Step::Yield,
        _ if wire.socket.is_writable() => Step::Later,
        _ => Step::Wait,
    }
}

/// Keeps a piece of a request's body. `false` if there is no memory for it.
pub(super) fn keep_piece(body: &mut Vec<u8>, piece: &[u8], env: &Env) -> bool {
    let most = usize::try_from(env.limits.protocol.body_bytes).unwrap_or(usize::MAX);
    let grown = make_room(body, piece.len(), most);
    if grown.is_ok() {
        body.extend_from_slice(piece);
    }
    grown.is_ok()
}

/// Reads and sends pieces of the file while the socket takes them. `file` is `None` once all of it was read.
pub(super) fn send_file(
    file: &mut Option<FileBody>,
    access: &mut Access,
    wire: &mut Wire,
    env: &mut Env,
    budget: &mut usize,
) -> Result<(), CloseHow> {
    if wire.socket.has_backlog() {
        SocketWriter::new(&mut env.io, &mut wire.socket).flush();
    }
    while let Some(body) = file {
        if body.remaining() == 0 {
            *file = None;
            break;
        }
        if !wire.socket.is_clear() || *budget == 0 {
            break;
        }
        let room = CORK.min(env.rx.len()).min(*budget);
        let count = match body.read_at(&mut env.rx[..room]) {
            Ok(count) if count > 0 => count,
            // Shorter than its announced length: only ending the connection shows that to the
            // peer.
            other => {
                tracing::warn!(
                    peer = %wire.peer,
                    ?other,
                    "a file changed or failed while it was sent; the connection is reset"
                );
                return Err(CloseHow::Reset);
            }
        };
        body.advance(count);
        access.sent(count);
        *budget -= count;
        SocketWriter::new(&mut env.io, &mut wire.socket).put(&env.rx[..count]);
    }
    Ok(())
}
