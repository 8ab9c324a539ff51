//! The built-in page, which is a part of the binary.

use sockeye::http::{HttpRequest, InvalidHeader, Response, Routes};

/// Routes to the page and its parts.
///
/// # Errors
///
/// None: the headers are constants.
pub(crate) fn routes() -> Result<Routes, InvalidHeader> {
    let mut routes = Routes::new();
    for (path, media_type, body) in PARTS {
        let part = Response::bytes(media_type, body.as_bytes())
            .with_etag()
            .header("Cache-Control", "no-cache")?
            .header("Referrer-Policy", "no-referrer")?
            .header("X-Content-Type-Options", "nosniff")?;
        routes = routes.get(path, move |request| with_policy(part.clone(), request));
    }
    Ok(routes)
}

/// A part of a page, which may load and connect to what this server has.
pub(super) fn with_policy(part: Response, request: &HttpRequest<'_>) -> Response {
    let policy = policy(request.header("Host").unwrap_or_default());
    // Its parts are safe to send, so this fails never.
    part.header("Content-Security-Policy", policy).unwrap_or_else(|_| Response::error(500))
}

const PARTS: [(&str, &str, &str); 5] = [
    ("/", "text/html; charset=utf-8", include_str!("../../page/index.html")),
    ("/index.html", "text/html; charset=utf-8", include_str!("../../page/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("../../page/app.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("../../page/style.css")),
    ("/favicon.svg", "image/svg+xml", include_str!("../../page/favicon.svg")),
];

/// Everything from this server, WebSockets included, and nothing from anywhere else. To Safari before version 15.4 `'self'`
/// means no WebSockets, so those of this host are named, too.
fn policy(host: &[u8]) -> String {
    // A host name may have characters that separate directives; none of those that are used has.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    let host = std::str::from_utf8(host).unwrap_or_default();
    let sockets = if host.is_empty() || !host.bytes().all(|byte| plain(&byte)) {
        String::new()
    } else {
        format!(" ws://{host} wss://{host}")
    };
    format!("{POLICY} 'self'{sockets}")
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; connect-src";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_sockets_of_this_host_and_no_other_directive() {
        assert!(policy(b"localhost:7681").ends_with("; connect-src 'self' ws://localhost:7681 wss://localhost:7681"));
        assert!(policy(b"[::1]:7681").ends_with(" wss://[::1]:7681"));
        for host in [&b""[..], b"a;script-src *", b"a b", b"a,b", b"'none'", b"\xff"] {
            assert!(policy(host).ends_with("; connect-src 'self'"), "{host:?}");
        }
    }

    #[test]
    fn the_headers_can_be_sent() {
        assert!(routes().is_ok());
    }

    #[test]
    fn the_page_has_the_ids_that_browser_tests_use_and_fits_the_policy() {
        let page = PARTS[0].2;
        for id in ["counter", "reset", "canvas", "visitors", "own-colour", "counter-state", "mirror-state"] {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert_eq!(page.matches("type=\"color\"").count(), 1, "the own colour is one control");
        assert!(!page.contains("libwebsockets"), "who came to draw is not told of protocols");
        assert_eq!(page.matches("data-state=\"connecting\"").count(), 2);
        for forbidden in ["<style", "style=", " onclick", "javascript:", "http:", "https:"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert_eq!(page.matches("<script").count(), page.matches("<script src=\"app.js\"").count());
    }

    #[test]
    fn every_part_that_the_page_names_is_there() {
        let page = PARTS[0].2;
        for attribute in ["href=\"", "src=\""] {
            for (at, _) in page.match_indices(attribute) {
                let name = page[at + attribute.len()..].split('"').next().unwrap();
                assert!(PARTS.iter().any(|(path, ..)| path.strip_prefix('/') == Some(name)), "{name}");
            }
        }
    }
}
