//! Texts that the loop wants as long as the process lives.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::lock::lock;

/// Media types that programs have named. A program has a few; with more the rest are sent as bytes.
const MEDIA_TYPES: usize = 256;

/// The text of a media type, kept for good: there are few of them.
pub(crate) fn kept(name: &str) -> &'static str {
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let is_valid = !name.is_empty() && name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let mut known = lock(&KNOWN);
    match known.get(name) {
        Some(known) => known,
        None if is_valid && known.len() < MEDIA_TYPES => {
            let kept: &'static str = name.to_owned().leak();
            known.insert(kept);
            kept
        }
        None => "application/octet-stream",
    }
}
