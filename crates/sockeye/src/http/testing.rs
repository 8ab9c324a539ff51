//! Requests and directories for tests of this module.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io, process};

use sockeye_proto::http::RequestHead;
use sockeye_proto::http::target::TargetPath;
use sockeye_proto::limits::ProtocolLimits;

use crate::http::{Body, FileBody, HttpRequest, Response};
use crate::statistics::Statistics;
use crate::sys::Address;

/// The year 2100: later than any file of the tests, so that Last-Modified is not clamped.
pub(super) const NOW: u64 = 4_102_444_800;

/// Parses the given request as the loop would, and passes it to `act`.
pub(super) fn request<T>(line: &str, fields: &[(&str, &str)], act: impl FnOnce(&HttpRequest<'_>) -> T) -> T {
    let mut text = format!("{line} HTTP/1.1\r\nHost: a\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let head = RequestHead::parse(text.as_bytes(), &ProtocolLimits::default()).unwrap();
    let path = TargetPath::parse(head.target).unwrap();
    let statistics = Statistics::default();
    let peer = &Address::Unnamed;
    act(&HttpRequest { head: &head, path: &path, body: b"", peer, now: NOW, statistics: &statistics, board: None })
}

/// The whole body, read in small pieces.
pub(super) fn body(response: Response) -> Vec<u8> {
    match response.into_body() {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.into_owned(),
        Body::File(file) => pull(file),
    }
}

fn pull(mut file: FileBody) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut piece = [0; 7];
    loop {
        let count = file.read_at(&mut piece).unwrap();
        if count == 0 {
            assert_eq!(file.remaining(), 0);
            return whole;
        }
        whole.extend_from_slice(&piece[..count]);
        file.advance(count);
    }
}

/// A directory that is removed when the value is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sockeye-files-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and creates the directories above it.
    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn link(&self, name: &str, target: impl AsRef<Path>) {
        std::os::unix::fs::symlink(target, self.join(name)).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        }
    }
}
