//! What a stream says of one receive.

/// What one receive brought.
pub(in crate::transport) struct Received {
    /// Bytes of plaintext; 0 is the end of the input.
    pub(in crate::transport) bytes: usize,
    /// Neither the socket nor the stream holds more for now.
    pub(in crate::transport) drained: bool,
}
