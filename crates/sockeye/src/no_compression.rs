//! In the place of compression in a build without it: it is off.

use sockeye_proto::ext::deflate::Settings;
use sockeye_proto::wire::Role;

/// It is off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Compression(());

impl Compression {
    pub(crate) const fn off() -> Self {
        Self(())
    }

    pub(crate) fn settings(self, _role: Role) -> Option<Settings> {
        None
    }

    pub(crate) fn own_history_bytes(self) -> usize {
        0
    }

    pub(crate) fn takes(self, _bytes: usize) -> bool {
        false
    }

    pub(crate) fn takes_fragments(self) -> bool {
        false
    }

    pub(crate) fn level_number(self) -> u8 {
        1
    }
}
