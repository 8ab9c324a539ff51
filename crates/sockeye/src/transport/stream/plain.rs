//! The place of plaintext that was opened.
#![cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "nothing is opened"))]

use std::collections::TryReserveError;

/// Where plaintext goes, and how much of it may.
pub(in crate::transport) struct Plain<'a> {
    place: Place<'a>,
    pub(super) filled: usize,
    most: usize,
}

enum Place<'a> {
    Room(&'a mut [u8]),
    Behind(&'a mut Vec<u8>),
}

impl<'a> Plain<'a> {
    /// To the front of `room`.
    pub(in crate::transport) fn to(room: &'a mut [u8]) -> Self {
        let most = room.len();
        Self { place: Place::Room(room), filled: 0, most }
    }

    /// Behind what the buffer holds, at most so many bytes.
    pub(in crate::transport) fn behind(buffer: &'a mut Vec<u8>, most: usize) -> Self {
        Self { place: Place::Behind(buffer), filled: 0, most }
    }

    /// Takes as many of the bytes as it may, and returns how many that is.
    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(self.most - self.filled)];
        match &mut self.place {
            Place::Room(room) => room[self.filled..][..bytes.len()].copy_from_slice(bytes),
            Place::Behind(buffer) => append(buffer, bytes),
        }
        self.filled += bytes.len();
        bytes.len()
    }
}

/// A function of its own, so that [`Plain::put`] stays short enough to be inlined where records are opened.
#[inline(never)]
fn append(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend_from_slice(bytes);
}

/// Puts plaintext into `plain`, and what has no room there into `opened`. Returns false if there is no memory for that.
#[inline(always)]
pub(super) fn deliver(bytes: &[u8], plain: &mut Plain<'_>, opened: &mut Vec<u8>) -> bool {
    let put = plain.put(bytes);
    put == bytes.len() || keep(&bytes[put..], opened)
}

/// Appends plaintext to `opened`. Returns false if there is no memory for it.
#[cold]
#[inline(never)]
pub(super) fn keep(bytes: &[u8], opened: &mut Vec<u8>) -> bool {
    grow(opened, bytes).is_ok()
}

/// Appends to a buffer whose size a peer decides.
pub(super) fn grow(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TryReserveError> {
    buffer.try_reserve(bytes.len())?;
    buffer.extend_from_slice(bytes);
    Ok(())
}
