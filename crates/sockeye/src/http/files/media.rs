//! Media types and content codings of files.

use std::borrow::Cow;

use sockeye_proto::http::RequestHead;

/// The media type for the extension of a file's name; text is declared as UTF-8.
pub(super) fn media_type(name: &str) -> Cow<'static, str> {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let newer =
        NEWER.iter().find(|(other, _)| other.eq_ignore_ascii_case(extension)).map(|(_, media_type)| *media_type);
    match newer.or_else(|| mime_guess::from_path(name).first_raw()) {
        Some(text) if text.starts_with("text/") => format!("{text}; charset=utf-8").into(),
        Some(other) => other.into(),
        None => "application/octet-stream".into(),
    }
}

/// The coding that a file has by its name alone: SVG Tiny 1.2 section D.3.1, a `.svgz` file is to be sent "with the HTTP
/// response header `Content-Encoding: gzip`".
pub(super) fn own_coding(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    extension.eq_ignore_ascii_case("svgz").then_some("gzip")
}

/// The codings of siblings that a request accepts, the smaller results first: name and extension.
pub(super) fn accepted(head: &RequestHead<'_>) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_accepted = |coding| accepts(head.fields.all("accept-encoding"), coding);
    let accepted = CODINGS.map(|(coding, extension)| is_accepted(coding).then_some((coding, extension)));
    accepted.into_iter().flatten()
}

/// RFC 9110 section 12.5.3: "If the representation's content coding is one of the content codings listed in the
/// Accept-Encoding field value, then it is acceptable unless it is accompanied by a qvalue of 0." A `*` stands for those that
/// are not listed.
fn accepts<'f>(fields: impl Iterator<Item = &'f [u8]>, coding: &str) -> bool {
    let mut any = false;
    for item in fields.flat_map(|line| line.split(|&byte| byte == b',')) {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.next().and_then(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        let is_wanted = weight.is_none_or(|weight| weight.iter().any(|byte| (b'1'..=b'9').contains(byte)));
        if name.eq_ignore_ascii_case(coding.as_bytes()) {
            return is_wanted;
        }
        any |= name == b"*" && is_wanted;
    }
    any
}

/// Content codings and the extensions of files that have them.
const CODINGS: [(&str, &str); 2] = [("br", "br"), ("gzip", "gz")];

/// Extensions whose media types were registered after the table of the dependency was made, or are wrong there.
const NEWER: [(&str, &str); 15] = [
    // RFC 9239 section 6: "text/javascript" for "js" and "mjs"; the others are obsolete.
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("cjs", "text/javascript"),
    // RFC 8081.
    ("otf", "font/otf"),
    ("ttf", "font/ttf"),
    ("ttc", "font/collection"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    // A transport stream of MPEG, as the registry has it; TypeScript is not for browsers.
    ("ts", "video/mp2t"),
    ("webmanifest", "application/manifest+json"),
    ("map", "application/json"),
    ("avif", "image/avif"),
    ("jxl", "image/jxl"),
    ("md", "text/markdown"),
    ("yaml", "application/yaml"),
];

#[cfg(test)]
mod tests {
    #[test]
    fn a_coding_is_accepted_if_it_is_listed_and_its_weight_is_not_zero() {
        for (value, br, gzip) in [
            ("", false, false),
            ("gzip, deflate, br", true, true),
            ("GZIP;q=0.5", false, true),
            ("br;q=0, *", false, true),
            ("*;q=0, gzip", false, true),
            ("gzip;q=0.000", false, false),
            ("gzip ; q=0.001", false, true),
            ("identity", false, false),
            ("xbr,brx", false, false),
        ] {
            let accepts = |coding| super::accepts([value.as_bytes()].into_iter(), coding);
            assert_eq!((accepts("br"), accepts("gzip")), (br, gzip), "{value}");
        }
    }
}
