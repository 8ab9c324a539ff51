//! Files below one directory, as answers to GET and HEAD.

use std::{
    borrow::Cow,
    fmt::Write as _,
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::io::Errno;
use sockeye_proto::http::{
    date,
    range::{self, Range},
};

use self::{
    path::Below,
    root::{Resolve, Root},
};
use crate::http::{
    body::FileBody,
    precondition,
    request::HttpRequest,
    response::{self, Body, InvalidHeader, Response},
};

mod path;
mod root;

/// The files below one directory.
///
/// * Only what is below the directory is served. Symbolic links are followed as long as they stay below it; a link that
///   leaves, and an absolute one, is answered 403.
/// * Only regular files are served. A directory is answered by its `index.html`; without a slash at the end of the path, by a
///   redirect that adds it. There are no listings.
/// * A path with a name that begins with a dot, such as `/.env` or `/.git/config`, is answered 404, whether it exists or not,
///   unless [`dot_files`](Files::dot_files) are asked for. `/.well-known/` is served (RFC 8615).
/// * ETag, Last-Modified, preconditions and single ranges work; several ranges are answered by the whole file.
/// * The media type is that of the extension; text is said to be UTF-8.
///
/// The directory is opened once: if another one is moved into its place, the old one is served on. Replace files by renaming
/// a finished one over the old. One that is shortened while it is being sent ends the connection, because the promised
/// length cannot be kept.
#[derive(Debug)]
pub struct Files {
    root: Root,
    dot_files: bool,
    fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl Files {
    /// Opens the directory `root`.
    ///
    /// # Errors
    ///
    /// The system's, when `root` is not a directory or cannot be opened.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { root: Root::open(root.as_ref())?, dot_files: false, fields: Vec::new() })
    }

    /// Adds a header field to each answer that carries a file, and to 304: Cache-Control or Content-Security-Policy, say.
    ///
    /// # Errors
    ///
    /// As for [`Response::header`].
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<Self, InvalidHeader> {
        self.fields.push(response::checked(name.into(), value.into())?);
        Ok(self)
    }

    /// Follows symbolic links wherever they lead. Whoever can make a link below the directory then decides what is served:
    /// every file that this process may read.
    #[must_use]
    pub const fn follow_links_anywhere(mut self) -> Self {
        self.root.resolve = Resolve::Anywhere;
        self
    }

    /// Serves files and folders whose name begins with a dot as well. What they hold is often secret: passwords, and the
    /// history of what is public.
    #[must_use]
    pub const fn dot_files(mut self) -> Self {
        self.dot_files = true;
        self
    }

    /// The answer to GET or HEAD of `rest`, the path after the prefix: nothing, or something that begins with a slash.
    pub(super) fn respond(&self, request: &HttpRequest<'_>, rest: &str) -> Response {
        match self.find(rest) {
            Ok(Found::File { file, metadata, name }) => self.send(request, file, &metadata, name),
            Ok(Found::Directory) => redirect(request),
            Err(error) => {
                tracing::debug!(path = ?request.path(), %error, "not served");
                refuse(error)
            }
        }
    }

    fn find<'p>(&self, rest: &'p str) -> Result<Found<'p>, Errno> {
        let Some(below) = rest.strip_prefix('/') else { return Ok(Found::Directory) };
        if !self.dot_files && is_hidden(below) {
            return Err(Errno::NOENT);
        }
        let index = below.is_empty() || below.ends_with('/');
        let path = if index { Cow::Owned(format!("{below}{INDEX}")) } else { Cow::Borrowed(below) };
        let path = Below::parse(&path).ok_or(Errno::NOENT)?;
        let file = self.root.file(path)?;
        // The descriptor is asked, not the path: what it says cannot change to another file any more.
        let metadata = file.metadata().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if metadata.is_file() {
            let name = if index { INDEX } else { below.rsplit('/').next().unwrap_or(below) };
            Ok(Found::File { file, metadata, name })
        } else if metadata.is_dir() && !index {
            Ok(Found::Directory)
        } else {
            Err(Errno::NOENT)
        }
    }

    fn send(&self, request: &HttpRequest<'_>, file: File, metadata: &Metadata, name: &str) -> Response {
        let length = metadata.size();
        let modified = modified(metadata, request.now);
        let mut response = Response::new(200).with_media_type(media_type(name));
        response.set("ETag", etag(metadata));
        response.set("Last-Modified", http_date(modified));
        response.set("Accept-Ranges", "bytes");
        for (name, value) in &self.fields {
            response.set(name.clone(), value.clone());
        }
        let response = precondition::apply(response, request);
        if response.status() == 200 { part(response, request, file, length, modified) } else { response }
    }
}

/// Whether a name of the path begins with a dot. A first name of `.well-known` does not count, RFC 8615 section 3: "A
/// well-known URI is a URI [RFC3986] whose path component begins with the characters "/.well-known/"".
fn is_hidden(path: &str) -> bool {
    path.strip_prefix(".well-known/").unwrap_or(path).split('/').any(|name| name.starts_with('.'))
}

enum Found<'p> {
    File { file: File, metadata: Metadata, name: &'p str },
    Directory,
}

/// Puts the file, or the part that is asked for, into an answer that has its fields already.
fn part(mut response: Response, request: &HttpRequest<'_>, file: File, length: u64, modified: u64) -> Response {
    let etag = response.field("ETag").unwrap_or_default();
    match range::single(request.head, length, etag, modified) {
        Range::Whole => response.with_body(Body::File(FileBody::new(file, 0, length))),
        Range::Part { start, end_inclusive } => {
            response.set("Content-Range", format!("bytes {start}-{end_inclusive}/{length}"));
            let body = FileBody::new(file, start, end_inclusive - start + 1);
            response.with_status(206).with_body(Body::File(body))
        }
        Range::Unsatisfiable => {
            // RFC 9110 section 15.5.17: a 416 "SHOULD generate a Content-Range header field specifying the current length of
            // the selected representation".
            let mut refusal = Response::error(416);
            refusal.set("Content-Range", format!("bytes */{length}"));
            refusal
        }
    }
}

/// RFC 9110 section 8.8.1: a strong validator "changes value whenever a change occurs to the representation data". A file
/// replaced by renaming changes its inode; one written in place changes its time, to the granularity of the file system.
fn etag(metadata: &Metadata) -> String {
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    format!("\"{:x}-{seconds:x}.{nanos:x}-{:x}\"", metadata.size(), metadata.ino())
}

/// RFC 9110 section 8.8.2.1: "An origin server with a clock MUST NOT generate a Last-Modified date that is later than the
/// server's time of message origination (Date)." A time before 1970 counts as its beginning.
fn modified(metadata: &Metadata, now: u64) -> u64 {
    u64::try_from(metadata.mtime()).unwrap_or_default().min(now)
}

fn http_date(seconds: u64) -> String {
    String::from_utf8_lossy(&date::format(seconds)).into_owned()
}

fn media_type(name: &str) -> Cow<'static, str> {
    match mime_guess::from_path(name).first_raw() {
        Some(text) if text.starts_with("text/") => format!("{text}; charset=utf-8").into(),
        Some(other) => other.into(),
        None => "application/octet-stream".into(),
    }
}

/// 301 to the same path with a slash at its end, so that relative links in the page are right.
fn redirect(request: &HttpRequest<'_>) -> Response {
    let mut location = String::with_capacity(request.path().len() + 2);
    // Two slashes at the beginning would name another host.
    location.push('/');
    encode(request.path().trim_matches('/'), is_path_byte, &mut location);
    if location.len() > 1 {
        location.push('/');
    }
    if let Some(query) = request.query() {
        location.push('?');
        encode(query, |byte| byte.is_ascii_graphic(), &mut location);
    }
    let mut response = Response::error(301);
    response.set("Location", location);
    response
}

fn encode(text: &str, safe: impl Fn(u8) -> bool, out: &mut String) {
    for byte in text.bytes() {
        if safe(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// What a path may hold as it is: RFC 3986 section 3.3, `pchar` and the slash.
const fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
        )
        || matches!(byte, b'@' | b'/')
}

/// What the client is told when there is nothing to send.
fn refuse(error: Errno) -> Response {
    match error {
        // ENXIO and ENODEV: a socket, or a device without a driver.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::INVAL | Errno::NXIO | Errno::NODEV => {
            Response::error(404)
        }
        // EXDEV: a link that leaves the root.
        Errno::ACCESS | Errno::PERM | Errno::XDEV => Response::error(403),
        // Out of descriptors or memory, or a lease is being broken: later it may work.
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
            let mut response = Response::error(503);
            response.set("Retry-After", "1");
            response
        }
        _ => Response::error(500),
    }
}

const INDEX: &str = "index.html";

#[cfg(test)]
mod tests;
