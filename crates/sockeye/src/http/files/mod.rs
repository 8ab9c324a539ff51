//! Files below one directory, as responses to GET and HEAD.

mod body;
mod media;
mod path;
mod root;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use sockeye_proto::http::date;
use sockeye_proto::http::range::{self, Range};

use crate::http::access::beginning;
use crate::http::fields::{self, InvalidHeader};
use crate::http::files::media::{media_type, own_coding};
use crate::http::files::path::Below;
use crate::http::files::root::{Resolve, Root};
use crate::http::precondition;
use crate::http::request::HttpRequest;
use crate::http::response::{Body, Response};

pub(crate) use self::body::FileBody;

/// The files below one directory.
///
/// * Only files below the directory are served. Symbolic links are followed if they stay below it; a link that leaves
///   it, or an absolute one, gives 403.
/// * Only regular files are served. A directory is answered with its `index.html`, or with a redirect that adds the
///   slash if the path does not end with one. There are no listings.
/// * A path with a name that begins with a dot, such as `/.env` or `/.git/config`, gives 404 whether it exists or not,
///   unless [`dot_files`](Files::dot_files) is set. `/.well-known/` is served (RFC 8615).
/// * ETag, Last-Modified, preconditions and single ranges work; a request for several ranges gets the whole file.
/// * The media type follows from the extension; text is declared as UTF-8. A `.svgz` file is sent as gzip-coded SVG.
///
/// The directory is opened once: if another one is moved to its path, the old one is still served. Replace a file by
/// renaming a finished one over it. Truncating a file while it is being sent breaks the connection, because the
/// Content-Length cannot be met.
///
/// ```no_run
/// use sockeye::Service;
/// use sockeye::http::{Files, Routes};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let files = Files::open("public")?.header("Cache-Control", "max-age=3600")?;
/// let builder = Service::builder().routes(Routes::new().files("/", files));
/// # drop(builder);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Files {
    root: Root,
    dot_files: bool,
    precompressed: bool,
    fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl Files {
    /// Opens the directory `root`.
    ///
    /// # Errors
    ///
    /// The system's error, if `root` is not a directory or cannot be opened.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { root: Root::open(root.as_ref())?, dot_files: false, precompressed: false, fields: Vec::new() })
    }

    /// Adds a header field to each response with a file, and to 304: for example Cache-Control or
    /// Content-Security-Policy.
    ///
    /// # Errors
    ///
    /// As for [`Response::header`].
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<Self, InvalidHeader> {
        self.fields.push(fields::checked(name.into(), value.into())?);
        Ok(self)
    }

    /// Follows symbolic links anywhere. Then anyone who can create a link below the directory can expose every file
    /// that this process may read.
    #[must_use]
    pub const fn follow_links_anywhere(mut self) -> Self {
        self.root.resolve = Resolve::Anywhere;
        self
    }

    /// Also serves files and directories whose name begins with a dot. They often hold secrets: passwords, or the
    /// history of a repository.
    #[must_use]
    pub const fn dot_files(mut self) -> Self {
        self.dot_files = true;
        self
    }

    /// Sends `page.html.br` or `page.html.gz` instead of `page.html` to those who accept that coding, if there is such a
    /// file and it is not older. Without it, or for others, the file itself is sent.
    #[must_use]
    pub const fn precompressed(mut self) -> Self {
        self.precompressed = true;
        self
    }

    /// The response to GET or HEAD for the file `path`, which begins with a slash: the rest of the request's path after
    /// a prefix, or any other path below the directory. For a [`Responder`](crate::responder::Responder) that answers
    /// with files; the body of the request is not looked at.
    #[must_use]
    pub fn respond(&self, request: &HttpRequest<'_>, path: &str) -> Response {
        match self.find(path) {
            Ok(Found::File { file, metadata, name, path }) => {
                let coded = self.sibling(request, &path, &metadata);
                let coding = coded.as_ref().map_or_else(|| own_coding(name), |(.., coding)| Some(*coding));
                let (file, metadata) = coded.map_or((file, metadata), |(file, metadata, _)| (file, metadata));
                self.send(request, file, &metadata, name, coding)
            }
            Ok(Found::Directory) => redirect(request),
            Err(error) => {
                tracing::debug!(path = ?beginning(request.path()), %error, "file not served");
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
        let (file, metadata) = self.open_file(&path)?;
        if metadata.is_file() {
            let name = if index { INDEX } else { below.rsplit('/').next().unwrap_or(below) };
            Ok(Found::File { file, metadata, name, path })
        } else if metadata.is_dir() && !index {
            Ok(Found::Directory)
        } else {
            Err(Errno::NOENT)
        }
    }

    fn open_file(&self, path: &str) -> Result<(File, Metadata), Errno> {
        let file = self.root.file(Below::parse(path).ok_or(Errno::NOENT)?)?;
        // Metadata of the descriptor, not of the path, which may name another file by now.
        let metadata = file.metadata().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok((file, metadata))
    }

    /// The file beside `path` that has its bytes in a coding that the request accepts.
    fn sibling(
        &self,
        request: &HttpRequest<'_>,
        path: &str,
        original: &Metadata,
    ) -> Option<(File, Metadata, &'static str)> {
        if !self.precompressed {
            return None;
        }
        media::accepted(request.head).find_map(|(coding, extension)| {
            let (file, metadata) = self.open_file(&format!("{path}.{extension}")).ok()?;
            let is_fresh = (metadata.mtime(), metadata.mtime_nsec()) >= (original.mtime(), original.mtime_nsec());
            (metadata.is_file() && is_fresh).then_some((file, metadata, coding))
        })
    }

    fn send(
        &self,
        request: &HttpRequest<'_>,
        file: File,
        metadata: &Metadata,
        name: &str,
        coding: Option<&'static str>,
    ) -> Response {
        let length = metadata.size();
        let modified = modified(metadata, request.now);
        let mut response = Response::new(200).with_media_type(media_type(name));
        response.set("ETag", etag(metadata));
        response.set("Last-Modified", http_date(modified));
        response.set("Accept-Ranges", "bytes");
        if let Some(coding) = coding {
            response.set("Content-Encoding", coding);
        }
        if self.precompressed {
            // RFC 9110 section 12.5.5: it tells caches that "the sender might have selected another representation".
            response.set("Vary", "Accept-Encoding");
        }
        for (name, value) in &self.fields {
            response.set(name.clone(), value.clone());
        }
        let response = precondition::apply(response, request);
        if response.status() == 200 { part(response, request, file, length, modified) } else { response }
    }
}

/// Whether a name of the path begins with a dot. A leading `.well-known` does not count, RFC 8615 section 3: "A
/// well-known URI is a URI [RFC3986] whose path component begins with the characters "/.well-known/"".
fn is_hidden(path: &str) -> bool {
    path.strip_prefix(".well-known/").unwrap_or(path).split('/').any(|name| name.starts_with('.'))
}

#[expect(clippy::large_enum_variant, reason = "there is one, for as long as a request is answered")]
enum Found<'p> {
    File { file: File, metadata: Metadata, name: &'p str, path: Cow<'p, str> },
    Directory,
}

/// Adds the file, or the requested range of it, to a response that has its fields.
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
            // RFC 9110 section 15.5.17: a 416 "SHOULD generate a Content-Range header field specifying the current
            // length of the selected representation".
            let mut refusal = Response::error(416);
            refusal.set("Content-Range", format!("bytes */{length}"));
            refusal
        }
    }
}

/// RFC 9110 section 8.8.1: a strong validator "changes value whenever a change occurs to the representation data". A
/// file replaced by renaming changes its inode; one written in place changes its time, to the granularity of the file
/// system.
fn etag(metadata: &Metadata) -> String {
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    format!("\"{:x}-{seconds:x}.{nanos:x}-{:x}\"", metadata.size(), metadata.ino())
}

/// RFC 9110 section 8.8.2.1: "An origin server with a clock MUST NOT generate a Last-Modified date that is later than
/// the server's time of message origination (Date)." A time before 1970 counts as 1970.
fn modified(metadata: &Metadata, now: u64) -> u64 {
    u64::try_from(metadata.mtime()).unwrap_or_default().min(now)
}

fn http_date(seconds: u64) -> String {
    String::from_utf8_lossy(&date::format(seconds)).into_owned()
}

/// 301 to the same path with a slash at the end, so that relative links in the page resolve correctly.
///
/// The reference is relative to the path of the request (RFC 9110 section 10.2.2), so it holds behind a proxy that took a
/// prefix off the path, too.
fn redirect(request: &HttpRequest<'_>) -> Response {
    let path = request.path().trim_end_matches('/');
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut location = String::with_capacity(name.len() + 3);
    // RFC 3986 section 4.2: a first segment with a colon "would be mistaken for a scheme name".
    if name.is_empty() || name.contains(':') {
        location.push_str("./");
    }
    encode(name, is_path_byte, &mut location);
    if !name.is_empty() {
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

/// Whether a path may have `byte` unescaped: `pchar` (RFC 3986 section 3.3) and the slash.
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

/// The error response for a file that cannot be opened.
fn refuse(error: Errno) -> Response {
    match error {
        // ENXIO and ENODEV: a socket, or a device without a driver.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::INVAL | Errno::NXIO | Errno::NODEV => {
            Response::error(404)
        }
        // EXDEV: a link that leaves the root.
        Errno::ACCESS | Errno::PERM | Errno::XDEV => Response::error(403),
        // Out of descriptors or memory, or a lease is being broken: it may work later.
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
