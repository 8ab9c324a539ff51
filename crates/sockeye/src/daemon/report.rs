//! What the starter is told. One packet each, so that none is cut.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::net::{RecvFlags, SendFlags, recv, send};

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Report {
    /// The process that is to become the daemon.
    Started(u32),
    Ready(String),
    Failed(u8, String),
}

impl Report {
    pub(super) fn send(&self, link: BorrowedFd<'_>) -> io::Result<()> {
        let text = match self {
            Self::Started(process) => format!("{STARTED}{process}"),
            Self::Ready(text) => format!("{READY}{}", beginning(text)),
            Self::Failed(code, text) => format!("{FAILED}{code} {}", beginning(text)),
        };
        loop {
            match send(link, text.as_bytes(), SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                result => return result.map(drop).map_err(io::Error::from),
            }
        }
    }

    /// The next one, once there is something to receive. `None`: nobody is left who could send one.
    pub(super) fn receive(link: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let mut buffer = vec![0; TEXT_BYTES + 64];
        let (count, _) = recv(link, &mut buffer[..], RecvFlags::empty())?;
        if count == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&buffer[..count]);
        let report = Self::parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Some(report))
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(process) = text.strip_prefix(STARTED) {
            return Some(Self::Started(process.parse().ok()?));
        }
        if let Some(text) = text.strip_prefix(READY) {
            return Some(Self::Ready(text.to_owned()));
        }
        let (code, text) = text.strip_prefix(FAILED)?.split_once(' ')?;
        Some(Self::Failed(code.parse().ok()?, text.to_owned()))
    }
}

/// As much of a text as is sent.
fn beginning(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

const STARTED: &str = "started ";
const READY: &str = "ready ";
const FAILED: &str = "failed ";

const TEXT_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn reports_arrive_whole_and_in_order() {
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let reports = [Report::Started(77), Report::Failed(2, "no\nport 80".to_owned()), Report::Ready(String::new())];
        for report in &reports {
            report.send(far.as_fd()).unwrap();
        }
        Report::Ready("ü".repeat(TEXT_BYTES)).send(far.as_fd()).unwrap();
        drop(far);
        for report in reports {
            assert_eq!(Report::receive(near.as_fd()).unwrap(), Some(report));
        }
        assert_eq!(Report::receive(near.as_fd()).unwrap(), Some(Report::Ready("ü".repeat(TEXT_BYTES / 2))));
        assert_eq!(Report::receive(near.as_fd()).unwrap(), None);
        assert!(Report::Started(1).send(near.as_fd()).is_err());
    }

    #[test]
    fn anything_else_is_no_report() {
        for text in ["", "ready", "failed 2", "failed 256 x", "failed x y", "started x", "started -1"] {
            assert_eq!(Report::parse(text), None, "{text}");
        }
    }
}
