//! Files as answers: read in the writable step, so neither a large file nor a slow reader holds more than one piece of it
//! in memory.

use crate::conn::env::Env;
use crate::conn::wire::Wire;
use crate::http::FileBody;
use crate::http::access::Access;
use crate::sys::CloseHow;
use crate::transport::{CORK, SocketWriter};

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
