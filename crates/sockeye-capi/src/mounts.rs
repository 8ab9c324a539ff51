//! Parts of the tree of URLs that a program leaves to the library: folders, redirects, protocols.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sockeye::http::Response;

use crate::answer::with_field;
use crate::regular;
use crate::texts::kept;

/// Where the answers of a mount come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// Files below a folder.
    Folder(PathBuf),
    /// A redirect to this URL, with the rest of the path behind it.
    Redirect(String),
    /// The callback of the protocol of this name.
    Callback(String),
}

/// A part of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Its path, without a slash at its end.
    pub(crate) point: Vec<u8>,
    pub(crate) origin: Origin,
    /// The file of a folder itself.
    pub(crate) default: Vec<u8>,
    /// Media types by the ends of names, before those that are known here.
    pub(crate) media_types: Vec<(Vec<u8>, String)>,
    /// Seconds that an answer may be kept; 0: it may not.
    pub(crate) max_age: u32,
    pub(crate) is_reusable: bool,
    pub(crate) revalidates: bool,
    pub(crate) is_shared: bool,
}

/// The mount whose path is the longest beginning of `path`, and the rest of that.
pub(crate) fn find<'m, 'p>(mounts: &'m [Mount], path: &'p [u8]) -> Option<(&'m Mount, &'p [u8])> {
    let rest = |mount: &Mount| path.strip_prefix(mount.point.as_slice()).filter(|rest| matches!(rest, [] | [b'/', ..]));
    let found = mounts.iter().filter_map(|mount| Some((mount, rest(mount)?)));
    found.max_by_key(|(mount, _)| mount.point.len())
}

impl Mount {
    /// The file that is at `rest` below the folder. `None`: there is none.
    pub(crate) fn file(&self, folder: &Path, rest: &[u8]) -> Option<Response> {
        let mut path = folder.to_owned();
        let is_folder = rest.is_empty() || rest.ends_with(b"/");
        let rest = if is_folder { [rest, b"/", &self.default].concat() } else { rest.to_vec() };
        for segment in rest.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()) {
            // Nothing that is above the folder, nor what a name cannot have.
            if matches!(segment, b"." | b"..") || segment.contains(&0) {
                return None;
            }
            path.push(OsStr::from_bytes(segment));
        }
        let (file, _) = regular::open(&path).ok()?;
        let response = Response::file(self.media_type(&rest), file).ok()?;
        Some(with_field(response.with_etag(), "cache-control", &self.caching()))
    }

    fn media_type(&self, name: &[u8]) -> &'static str {
        let own = self.media_types.iter().find(|(end, _)| name.ends_with(end));
        own.map_or_else(|| media_type(name), |(_, media_type)| kept(media_type))
    }

    fn caching(&self) -> String {
        if !self.is_reusable || self.max_age == 0 {
            return "no-store".to_owned();
        }
        let shared = if self.is_shared { "" } else { "private, " };
        let revalidates = if self.revalidates { "must-revalidate, " } else { "" };
        format!("{revalidates}{shared}max-age={}", self.max_age)
    }
}

/// The media type that the end of a name says.
pub(crate) fn media_type(name: &[u8]) -> &'static str {
    let lower = name.to_ascii_lowercase();
    let found = MEDIA_TYPES.iter().find(|(end, _)| lower.ends_with(end.as_bytes()));
    found.map_or("application/octet-stream", |(_, media_type)| media_type)
}

const MEDIA_TYPES: [(&str, &str); 24] = [
    (".html", "text/html"),
    (".htm", "text/html"),
    (".css", "text/css"),
    (".js", "text/javascript"),
    (".mjs", "text/javascript"),
    (".json", "application/json"),
    (".txt", "text/plain"),
    (".xml", "application/xml"),
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".gif", "image/gif"),
    (".webp", "image/webp"),
    (".svg", "image/svg+xml"),
    (".ico", "image/x-icon"),
    (".woff", "font/woff"),
    (".woff2", "font/woff2"),
    (".ttf", "font/ttf"),
    (".wasm", "application/wasm"),
    (".pdf", "application/pdf"),
    (".zip", "application/zip"),
    (".gz", "application/gzip"),
    (".mp3", "audio/mpeg"),
    (".mp4", "video/mp4"),
];

#[cfg(test)]
mod tests {
    use super::{Mount, Origin, find, media_type};

    fn mount(point: &str) -> Mount {
        Mount {
            point: point.into(),
            origin: Origin::Folder("/nonexistent".into()),
            default: b"index.html".to_vec(),
            media_types: Vec::new(),
            max_age: 0,
            is_reusable: false,
            revalidates: false,
            is_shared: false,
        }
    }

    #[test]
    fn the_longest_mount_has_the_path() {
        let mounts = [mount(""), mount("/a"), mount("/a/b")];
        for (path, point, rest) in [
            ("/", "", "/"),
            ("/x", "", "/x"),
            ("/a", "/a", ""),
            ("/a/", "/a", "/"),
            ("/ab", "", "/ab"),
            ("/a/b/c", "/a/b", "/c"),
        ] {
            let (mount, found) = find(&mounts, path.as_bytes()).unwrap();
            assert_eq!((mount.point.as_slice(), found), (point.as_bytes(), rest.as_bytes()), "{path}");
        }
        assert!(find(&mounts[1..], b"/x").is_none());
        assert!(find(&mounts, b"*").is_none());
    }

    #[test]
    fn nothing_above_the_folder_is_served() {
        let mount = mount("");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert!(mount.file(&folder, b"/lib.rs").is_some());
        for path in ["", "/", "/../Cargo.toml", "/./lib.rs", "/lib.rs/", "/face17", "/nothing", "/lib.rs\0"] {
            assert!(mount.file(&folder, path.as_bytes()).is_none(), "{path}");
        }
    }

    #[test]
    fn names_say_the_media_type() {
        assert_eq!(
            [media_type(b"a.HTML"), media_type(b"a"), media_type(b"/.png")],
            ["text/html", "application/octet-stream", "image/png"]
        );
    }
}
