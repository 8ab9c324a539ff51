//! What the starter learns. One packet each, so that none is cut.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

#[derive(Debug)]
pub(super) enum Report {
    /// The process that is to become the daemon: a handle (`pidfd_open`), because its number may be another process's by the
    /// time that the starter reads it.
    Started(OwnedFd),
    Ready(String),
    Failed(u8, String),
}

impl Report {
    pub(super) fn send(&self, link: BorrowedFd<'_>) -> io::Result<()> {
        let (text, handle) = match self {
            Self::Started(handle) => (STARTED.to_owned(), Some([handle.as_fd()])),
            Self::Ready(text) => (format!("{READY}{}", beginning(text)), None),
            Self::Failed(code, text) => (format!("{FAILED}{code} {}", beginning(text)), None),
        };
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        loop {
            let mut control = SendAncillaryBuffer::new(&mut space);
            if let Some(handle) = &handle {
                // There is room for one.
                control.push(SendAncillaryMessage::ScmRights(handle));
            }
            match sendmsg(link, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                result => return result.map(drop).map_err(io::Error::from),
            }
        }
    }

    /// The next report, once there is something to receive. `None`: no process is left that could send one.
    pub(super) fn receive(link: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let mut buffer = vec![0; TEXT_BYTES + 64];
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let count = loop {
            match recvmsg(link, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                result => break result?.bytes,
            }
        };
        let handle = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut handles) => handles.next(),
            _ => None,
        });
        if count == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&buffer[..count]);
        Self::parse(&text, handle).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(text: &str, handle: Option<OwnedFd>) -> Option<Self> {
        if text == STARTED {
            return handle.map(Self::Started);
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

const STARTED: &str = "started";
const READY: &str = "ready ";
const FAILED: &str = "failed ";

const TEXT_BYTES: usize = 32 * 1024;

/// Room for one descriptor beside a packet.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(1));

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;

    #[test]
    fn reports_arrive_whole_and_in_order() {
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let handle = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let long = "ü".repeat(TEXT_BYTES);
        let reports = [Report::Started(handle), Report::Failed(2, "no\nport 80".to_owned()), Report::Ready(long)];
        for report in &reports {
            report.send(far.as_fd()).unwrap();
        }
        drop(far);
        let received = || Report::receive(near.as_fd()).unwrap();
        assert!(matches!(received(), Some(Report::Started(_))));
        assert!(matches!(received(), Some(Report::Failed(2, text)) if text == "no\nport 80"));
        assert!(matches!(received(), Some(Report::Ready(text)) if text == "ü".repeat(TEXT_BYTES / 2)));
        assert!(received().is_none());
        assert!(Report::Ready(String::new()).send(near.as_fd()).is_err());
    }

    #[test]
    fn anything_else_is_not_a_report() {
        for text in ["", "ready", "failed 2", "failed 256 x", "failed x y", "started", "started 1"] {
            assert!(Report::parse(text, None).is_none(), "{text}");
        }
    }
}
