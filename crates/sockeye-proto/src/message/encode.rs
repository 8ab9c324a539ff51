//! Encodes whole messages.

use alloc::vec::Vec;

use crate::conn::{Connection, SendError};
use crate::wire::{MAX_HEADER_BYTES, MessageKind, mask};

/// Appends `text` to `out` as one unfragmented text message of `connection`. `mask` is a new random
/// masking key for a client, and `None` for a server.
///
/// # Errors
/// Those of [`Connection::frame`]. `out` is then unchanged.
pub fn text(
    connection: &mut Connection,
    text: &str,
    out: &mut Vec<u8>,
    mask: Option<[u8; 4]>,
) -> Result<(), SendError> {
    message(connection, MessageKind::Text, text.as_bytes(), out, mask)
}

/// Appends `bytes` to `out` as one unfragmented binary message of `connection`. `mask` is a new
/// random masking key for a client, and `None` for a server.
///
/// # Errors
/// Those of [`Connection::frame`]. `out` is then unchanged.
pub fn binary(
    connection: &mut Connection,
    bytes: &[u8],
    out: &mut Vec<u8>,
    mask: Option<[u8; 4]>,
) -> Result<(), SendError> {
    message(connection, MessageKind::Binary, bytes, out, mask)
}

fn message(
    connection: &mut Connection,
    kind: MessageKind,
    payload: &[u8],
    out: &mut Vec<u8>,
    mask: Option<[u8; 4]>,
) -> Result<(), SendError> {
    let head = connection.frame(Some(kind), true, payload.len() as u64, mask)?;
    out.reserve(MAX_HEADER_BYTES + payload.len());
    head.append_to(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        mask::apply(&mut out[start..], key, 0);
    }
    Ok(())
}
