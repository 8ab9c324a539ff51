//! A place in a topic, as clients keep it.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The last message that was seen of a topic. As text it is `EPOCH:OFFSET`.
///
/// ```
/// use sockeye_hub::client::Bookmark;
///
/// let bookmark: Bookmark = "5f0c3a9e11d2b847:41".parse()?;
/// assert_eq!((bookmark.epoch(), bookmark.offset()), ("5f0c3a9e11d2b847", 41));
/// # Ok::<(), sockeye_hub::client::InvalidBookmark>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Bookmark {
    epoch: Arc<str>,
    offset: u64,
}

impl Bookmark {
    /// # Errors
    /// The epoch has no character or more than 256 bytes, or the offset is 2^53 or more.
    pub fn new(epoch: impl Into<Arc<str>>, offset: u64) -> Result<Self, InvalidBookmark> {
        let epoch = epoch.into();
        let is_valid = !epoch.is_empty() && epoch.len() <= EPOCH_BYTES && offset < super::END_OF_NUMBERS;
        if is_valid { Ok(Self { epoch, offset }) } else { Err(InvalidBookmark) }
    }

    /// Offsets of different epochs say nothing of each other.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The offset of the message.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether offsets of both can be compared.
    pub(super) fn is_of_epoch_of(&self, other: &Self) -> bool {
        self.epoch == other.epoch
    }

    /// Another place in the same epoch.
    pub(super) fn at(&self, offset: u64) -> Self {
        Self { epoch: Arc::clone(&self.epoch), offset }
    }

    /// Forward only.
    pub(super) fn move_to(&mut self, offset: u64) {
        self.offset = self.offset.max(offset);
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Bookmark {
    type Err = InvalidBookmark;

    fn from_str(text: &str) -> Result<Self, InvalidBookmark> {
        let (epoch, offset) = text.rsplit_once(':').ok_or(InvalidBookmark)?;
        let is_number = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
        let offset = offset.parse().ok().filter(|_| is_number).ok_or(InvalidBookmark)?;
        Self::new(epoch, offset)
    }
}

/// No [`Bookmark`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct InvalidBookmark;

impl fmt::Display for InvalidBookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place in a topic is EPOCH:OFFSET, with an epoch of 1 to 256 bytes and an offset below 2^53")
    }
}

impl Error for InvalidBookmark {}

const EPOCH_BYTES: usize = 256;
