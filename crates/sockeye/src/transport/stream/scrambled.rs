//! A transform in the place of TLS: records with a length in front, each byte XORed with a stream from a seed. It keeps
//! no secret. Tests run the loop on it, so that no part of the loop relies on bytes being plain.

use std::io::{self, IoSlice};

use crate::sys::{Handle, Sys};

/// The most plaintext of one record.
const RECORD_BYTES: usize = 1000;
/// The length in front of a record.
const LENGTH_BYTES: usize = 2;
/// The most plaintext that is sealed before the socket is asked to take it.
const SEALED_AT_ONCE: usize = 16 * RECORD_BYTES;

/// One direction of the transform, without I/O: for scripted peers of a service that was built with
/// [`Builder::scrambled`](crate::Builder::scrambled).
///
/// ```
/// use sockeye::sim::Scrambler;
///
/// let (mut wire, mut text) = (Vec::new(), Vec::new());
/// Scrambler::new(7).seal(b"hello", &mut wire);
/// assert_ne!(&wire[2..], b"hello");
/// let mut opener = Scrambler::new(7);
/// for byte in wire {
///     opener.open(&[byte], &mut text);
/// }
/// assert_eq!(text, b"hello");
/// ```
#[derive(Debug)]
pub struct Scrambler {
    state: u64,
    /// Sealed bytes of a record that is not complete.
    partial: Vec<u8>,
}

impl Scrambler {
    /// The transform of this seed, at the beginning of a connection.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // A state of zero would stay zero.
        Self { state: seed | 1, partial: Vec::new() }
    }

    /// Appends `plaintext` to `out`, sealed.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        for record in plaintext.chunks(RECORD_BYTES) {
            // A record has at most `RECORD_BYTES`, which 16 bits hold.
            out.extend_from_slice(&(record.len() as u16).to_be_bytes());
            out.extend(record.iter().map(|byte| byte ^ self.next()));
        }
    }

    /// Takes sealed bytes, cut anywhere, and appends the plaintext of the records that are complete to `out`.
    pub fn open(&mut self, sealed: &[u8], out: &mut Vec<u8>) {
        self.partial.extend_from_slice(sealed);
        let partial = std::mem::take(&mut self.partial);
        let mut rest = &partial[..];
        while let Some((length, body)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let length = usize::from(u16::from_be_bytes(*length));
            if body.len() < length {
                break;
            }
            let (record, behind) = body.split_at(length);
            out.extend(record.iter().map(|byte| byte ^ self.next()));
            rest = behind;
        }
        self.partial = rest.to_vec();
    }

    /// Whether a record has begun to arrive, and is not complete.
    #[must_use]
    pub fn is_inside_record(&self) -> bool {
        !self.partial.is_empty()
    }

    fn next(&mut self) -> u8 {
        // Xorshift64. Any stream will do that is the same on both sides.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state as u8
    }
}

/// A connection whose bytes are scrambled.
pub(in crate::transport) struct Scrambled {
    opener: Scrambler,
    sealer: Scrambler,
    /// Plaintext that was opened and not delivered; `delivered` bytes of it are.
    opened: Vec<u8>,
    delivered: usize,
    /// The last read of the socket brought less than there was room for.
    socket_is_drained: bool,
    /// Sealed bytes that the socket did not take; `sent` of them it did.
    sealed: Vec<u8>,
    sent: usize,
}

impl Scrambled {
    pub(in crate::transport) fn new(seed: u64) -> Self {
        Self {
            opener: Scrambler::new(seed),
            sealer: Scrambler::new(seed),
            opened: Vec::new(),
            delivered: 0,
            socket_is_drained: false,
            sealed: Vec::new(),
            sent: 0,
        }
    }

    pub(in crate::transport) fn recv(
        &mut self,
        sys: &mut dyn Sys,
        handle: Handle,
        room: &mut [u8],
    ) -> io::Result<usize> {
        // What an earlier receive found is out of date: an edge may have come since.
        self.socket_is_drained = false;
        while self.delivered == self.opened.len() {
            self.opened.clear();
            self.delivered = 0;
            // What the socket yields may complete no record: it is asked until it has nothing, or a record is complete.
            let count = sys.recv(handle, room)?;
            if count == 0 {
                return Ok(0);
            }
            self.socket_is_drained = count < room.len();
            self.opener.open(&room[..count], &mut self.opened);
        }
        let waiting = &self.opened[self.delivered..];
        let bytes = waiting.len().min(room.len());
        room[..bytes].copy_from_slice(&waiting[..bytes]);
        self.delivered += bytes;
        Ok(bytes)
    }

    pub(in crate::transport) fn is_drained(&self) -> bool {
        self.socket_is_drained && self.delivered == self.opened.len()
    }

    pub(in crate::transport) fn send(
        &mut self,
        sys: &mut dyn Sys,
        handle: Handle,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let mut accepted = 0;
        for slice in slices {
            for piece in slice.chunks(SEALED_AT_ONCE) {
                self.sealer.seal(piece, &mut self.sealed);
                accepted += piece.len();
                self.send_sealed(sys, handle)?;
                if self.has_sealed() {
                    return Ok(accepted);
                }
            }
        }
        Ok(accepted)
    }

    pub(in crate::transport) fn has_sealed(&self) -> bool {
        self.sent < self.sealed.len()
    }

    pub(in crate::transport) fn send_sealed(&mut self, sys: &mut dyn Sys, handle: Handle) -> io::Result<()> {
        while self.has_sealed() {
            let rest = &self.sealed[self.sent..];
            match sys.send(handle, &[IoSlice::new(rest)]) {
                // A short count means that the socket is full.
                Ok(count) if count < rest.len() => {
                    self.sent += count;
                    return Ok(());
                }
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.sealed.clear();
        self.sent = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_wherever_it_is_cut() {
        let text: Vec<u8> = (0..2 * RECORD_BYTES + 7).map(|index| index as u8).collect();
        let mut wire = Vec::new();
        let mut sealer = Scrambler::new(3);
        sealer.seal(&text[..5], &mut wire);
        sealer.seal(&text[5..], &mut wire);
        for cut in 0..=wire.len() {
            let (mut opener, mut opened) = (Scrambler::new(3), Vec::new());
            opener.open(&wire[..cut], &mut opened);
            opener.open(&wire[cut..], &mut opened);
            assert!(opened == text, "cut at {cut}");
        }
    }
}
