//! Requests, legal or not: every part is plain bytes.

use std::fmt;

/// The key of RFC 6455, section 1.3, used for every upgrade,
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// and the answer it must have.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    target: Vec<u8>,
    version: String,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn get(target: impl AsRef<[u8]>) -> Self {
        Self {
            method: "GET".into(),
            target: target.as_ref().to_vec(),
            version: "HTTP/1.1".into(),
            fields: vec![(b"Host".into(), b"localhost".into())],
            body: Vec::new(),
        }
    }

    pub(crate) fn upgrade(target: impl AsRef<[u8]>) -> Self {
        Self::get(target)
            .add("Upgrade", "websocket")
            .add("Connection", "Upgrade")
            .add("Sec-WebSocket-Key", KEY)
            .add("Sec-WebSocket-Version", "13")
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    /// One more field.
    pub(crate) fn add(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn remove(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name.as_bytes()));
        self
    }

    /// This field in place of all others of its name.
    pub(crate) fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.remove(name).add(name, value)
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.method.clone().into_bytes();
        bytes.push(b' ');
        bytes.extend_from_slice(&self.target);
        bytes.push(b' ');
        bytes.extend_from_slice(self.version.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in &self.fields {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Fills the head up to exactly `size` bytes with one more field.
    pub(crate) fn padded_to(self, size: usize) -> Self {
        let have = self.bytes().len() + b"X-Padding: \r\n".len();
        let padding = size.checked_sub(have).expect("room for a field");
        self.add("X-Padding", "p".repeat(padding))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        write!(f, "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(300)]))
    }
}
