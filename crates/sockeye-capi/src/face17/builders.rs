//! The head of an HTTP/1 answer as text, written by a program piece by piece into a buffer of its own.

use std::fmt::Write as _;

use sockeye::proto::http::emit::reason;

/// Appends to a buffer, all of a piece or nothing of it.
#[derive(Debug)]
pub(crate) struct Appender<'a> {
    room: &'a mut [u8],
    used: usize,
}

impl<'a> Appender<'a> {
    /// Appends from the beginning of `room`.
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Self { room, used: 0 }
    }

    /// Bytes that were appended.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Appends `pieces`. False, and nothing appended, if they do not fit.
    pub(crate) fn append(&mut self, pieces: &[&[u8]]) -> bool {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let Some(room) = self.room.get_mut(self.used..).and_then(|rest| rest.get_mut(..length)) else { return false };
        let mut at = 0;
        for piece in pieces {
            room[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        self.used += length;
        true
    }

    /// The status line, and the name of the server if the vhost has one. Flags above the low 16 bits of `code` are not
    /// part of it; [`NO_SERVER_NAME`] leaves the name out.
    pub(crate) fn status(&mut self, code: u32, minor: u8, server: Option<&[u8]>) -> bool {
        let number = code & CODE_MASK;
        let mut line = String::new();
        let phrase = u16::try_from(number).map_or("", reason);
        let _ = write!(line, "HTTP/1.{minor} {number} {phrase}\r\n");
        match server.filter(|_| code & NO_SERVER_NAME == 0) {
            Some(server) => self.append(&[line.as_bytes(), b"server: ", server, b"\r\n"]),
            None => self.append(&[line.as_bytes()]),
        }
    }

    /// A field whose name includes its colon. Without a name only the value and the end of the line.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8]) -> bool {
        let space: &[u8] = if name.is_empty() { b"" } else { b" " };
        self.append(&[name, space, value, b"\r\n"])
    }

    /// The length of the body.
    pub(crate) fn content_length(&mut self, length: u64) -> bool {
        self.field(b"content-length:", length.to_string().as_bytes())
    }

    /// Status, type and length. Without a length the body ends with the connection.
    pub(crate) fn common(
        &mut self,
        code: u32,
        minor: u8,
        server: Option<&[u8]>,
        media_type: Option<&[u8]>,
        length: Option<u64>,
    ) -> bool {
        let before = self.used;
        let fits = self.status(code, minor, server)
            && media_type.is_none_or(|media_type| self.field(b"content-type:", media_type))
            && match length {
                Some(length) => self.content_length(length),
                None => self.field(b"connection:", b"close"),
            };
        if !fits {
            self.used = before;
        }
        fits
    }

    /// The empty line.
    pub(crate) fn finish(&mut self) -> bool {
        self.append(&[b"\r\n"])
    }
}

/// The page that `lws_return_http_status` sends: the status as a heading, and what the program adds.
pub(crate) fn page(code: u32, body: &[u8]) -> Vec<u8> {
    let mut page =
        format!("<html><head><meta charset=\"utf-8\"></head><body><h1>{}</h1>", code & CODE_MASK).into_bytes();
    page.extend_from_slice(body);
    page.extend_from_slice(b"</body></html>");
    page
}

/// `LWSAHH_CODE_MASK`: the bits of a status that are its number.
pub(crate) const CODE_MASK: u32 = 0xffff;

/// `LWSAHH_FLAG_NO_SERVER_NAME`.
pub(crate) const NO_SERVER_NAME: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Appender<'_>) -> bool) -> String {
        let mut room = [0; 512];
        let mut appender = Appender::new(&mut room);
        assert!(write(&mut appender));
        let used = appender.used();
        // Exactly that much room is enough, and any less is not and appends nothing.
        for size in 0..=used {
            let mut room = vec![b'#'; size];
            let mut appender = Appender::new(&mut room);
            assert_eq!(write(&mut appender), size == used, "{size}");
            assert_eq!(appender.used(), if size == used { used } else { 0 });
        }
        String::from_utf8(room[..used].to_vec()).unwrap()
    }

    #[test]
    fn pieces_are_lines_of_a_head() {
        let server = Some(&b"srv"[..]);
        assert_eq!(written(|out| out.status(200, 1, server)), "HTTP/1.1 200 OK\r\nserver: srv\r\n");
        assert_eq!(written(|out| out.status(200, 0, None)), "HTTP/1.0 200 OK\r\n");
        assert_eq!(written(|out| out.status(600, 1, None)), "HTTP/1.1 600 \r\n");
        assert_eq!(written(|out| out.status(404 | NO_SERVER_NAME, 1, server)), "HTTP/1.1 404 Not Found\r\n");
        assert_eq!(written(|out| out.field(b"X-A:", b"v")), "X-A: v\r\n");
        assert_eq!(written(|out| out.field(b"X-A:", b"")), "X-A: \r\n");
        assert_eq!(written(|out| out.field(b"", b"v")), "v\r\n");
        assert_eq!(written(|out| out.content_length(u64::MAX)), "content-length: 18446744073709551615\r\n");
        assert_eq!(written(|out| out.finish()), "\r\n");
        let html = Some(&b"text/html"[..]);
        assert_eq!(
            written(|out| out.common(200, 1, server, html, Some(77))),
            "HTTP/1.1 200 OK\r\nserver: srv\r\ncontent-type: text/html\r\ncontent-length: 77\r\n"
        );
        assert_eq!(
            written(|out| out.common(200, 1, None, html, None)),
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n"
        );
    }
}
