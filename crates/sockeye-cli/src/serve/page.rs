//! The built-in page, which is a part of the binary.

use sockeye::http::{InvalidHeader, Response, Routes};

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
            .header("Content-Security-Policy", POLICY)?
            .header("Referrer-Policy", "no-referrer")?
            .header("X-Content-Type-Options", "nosniff")?;
        routes = routes.get(path, move |_| part.clone());
    }
    Ok(routes)
}

const PARTS: [(&str, &str, &str); 5] = [
    ("/", "text/html; charset=utf-8", include_str!("../../page/index.html")),
    ("/index.html", "text/html; charset=utf-8", include_str!("../../page/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("../../page/app.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("../../page/style.css")),
    ("/favicon.svg", "image/svg+xml", include_str!("../../page/favicon.svg")),
];

/// Everything from this server, WebSockets included, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_can_be_sent() {
        assert!(routes().is_ok());
    }

    #[test]
    fn the_page_has_the_ids_that_browser_tests_use_and_fits_the_policy() {
        let page = PARTS[0].2;
        for id in ["counter", "reset", "canvas", "counter-state", "mirror-state"] {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
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
