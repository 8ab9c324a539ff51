//! Which plaintext goes into which record. Records are as few as can be, and copying into one is avoided where that makes no more of them.

use std::io::IoSlice;

use crate::tls::RECORD;

/// The most plaintext that is sealed before the socket is asked to take it: as many records as a full cork has, and less than one
/// more, so that what is in front of a long payload goes with it.
pub(super) const BATCH: usize = 5 * RECORD - 1;

/// Plaintext in several pieces.
pub(super) struct Pieces<'a, 'b> {
    slices: &'a [IoSlice<'b>],
    /// So many bytes of the first are done with.
    start: usize,
}

impl<'a, 'b> Pieces<'a, 'b> {
    pub(super) fn of(slices: &'a [IoSlice<'b>]) -> Self {
        Self { slices, start: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slices.iter().all(|slice| slice.is_empty())
            || (self.slices.len() == 1 && self.start >= self.slices[0].len())
    }

    /// Plaintext for the next records, at most `most` bytes: whole records of one piece, or all that is left of it where that makes no
    /// more records, else one record, which is gathered from several. `None`: less than a record has room, or nothing is left.
    pub(super) fn next<'s>(&mut self, most: usize, gathered: &'s mut Vec<u8>) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        self.skip_empty();
        let (first, others) = self.slices.split_first()?;
        let first = &first[self.start..];
        let behind: usize = others.iter().map(|slice| slice.len()).sum();
        let records = |bytes: usize| bytes.div_ceil(RECORD);
        // A header before a payload of whole records. Nothing is gathered then, and the payload is not copied.
        let is_apart = records(first.len()) + records(behind) == records(first.len() + behind);
        let direct =
            if first.len() <= most && is_apart { first.len() } else { first.len().min(most) / RECORD * RECORD };
        if direct > 0 {
            self.start += direct;
            return Some(&first[..direct]);
        }
        if most < RECORD.min(first.len() + behind) {
            return None;
        }
        gathered.clear();
        while gathered.len() < RECORD {
            self.skip_empty();
            let Some(first) = self.slices.first() else { break };
            let piece = &first[self.start..];
            let piece = &piece[..piece.len().min(RECORD - gathered.len())];
            gathered.extend_from_slice(piece);
            self.start += piece.len();
        }
        Some(gathered)
    }

    fn skip_empty(&mut self) {
        while let Some((first, others)) = self.slices.split_first() {
            if self.start < first.len() {
                return;
            }
            (self.slices, self.start) = (others, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the records of each batch, and how many bytes were gathered.
    fn split(lengths: &[usize]) -> (Vec<Vec<usize>>, usize) {
        let text: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|at| (at % 251) as u8).collect();
        let mut rest = text.as_slice();
        let mut slices = Vec::new();
        for length in lengths {
            let (piece, others) = rest.split_at(*length);
            slices.push(IoSlice::new(piece));
            rest = others;
        }
        let (mut pieces, mut gathered, mut sealed) = (Pieces::of(&slices), Vec::new(), Vec::new());
        let (mut batches, mut copied) = (Vec::new(), 0);
        while !pieces.is_empty() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(plain) = pieces.next(BATCH - bytes, &mut gathered) {
                bytes += plain.len();
                copied += if text.as_ptr_range().contains(&plain.as_ptr()) { 0 } else { plain.len() };
                sealed.extend_from_slice(plain);
                batch.extend(plain.chunks(RECORD).map(<[u8]>::len));
            }
            assert!(bytes > 0 && bytes <= BATCH, "{lengths:?}");
            batches.push(batch);
        }
        assert_eq!(sealed, text, "{lengths:?}");
        assert_eq!(batches.concat().len(), text.len().div_ceil(RECORD), "{lengths:?}: no more records than needed");
        (batches, copied)
    }

    #[test]
    fn a_payload_of_whole_records_is_not_copied_for_its_header() {
        assert_eq!(split(&[4, RECORD]), (vec![vec![4, RECORD]], 0));
        assert_eq!(split(&[10, 4 * RECORD]), (vec![vec![10, RECORD, RECORD, RECORD, RECORD]], 0));
        let (batches, copied) = split(&[10, 64 * RECORD]);
        assert_eq!((batches.len(), batches[0].len(), copied), (16, 5, 0));
        // Any other length has one record less where the header is in it.
        assert_eq!(split(&[4, RECORD - 4]), (vec![vec![RECORD]], RECORD));
        assert_eq!(split(&[4, 2 * RECORD - 4]), (vec![vec![RECORD; 2]], RECORD));
        assert_eq!(split(&[4, 2 * RECORD + 9]), (vec![vec![RECORD, RECORD, 13]], RECORD));
    }

    #[test]
    fn pieces_of_any_lengths_make_as_few_records_as_can_be() {
        let lengths = [0, 1, 13, RECORD - 1, RECORD, RECORD + 1, 3 * RECORD, BATCH - 1, BATCH, BATCH + 1, 9 * RECORD];
        for first in lengths {
            split(&[first]);
            for second in lengths {
                split(&[first, second]);
                for third in lengths {
                    split(&[first, second, third]);
                    split(&[first, second, third, 0, 7, first]);
                }
            }
        }
    }
}
