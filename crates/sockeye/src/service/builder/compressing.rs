//! Compression, for all protocols of a service.

#[cfg(feature = "deflate")]
impl super::Builder {
    /// How messages are compressed (permessage-deflate, RFC 7692), of protocols that do not [say it
    /// themselves](crate::Protocol::compression). Default: [`Compression::off`](crate::Compression::off).
    #[must_use]
    pub fn compression(mut self, compression: crate::Compression) -> Self {
        self.compression = compression;
        self
    }
}
