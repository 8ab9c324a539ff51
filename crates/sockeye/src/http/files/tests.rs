use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, SystemTime};
use std::{env, fs};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Files, refuse};
use crate::http::files::root::Resolve;
use crate::http::testing::{NOW, Scratch, body, request};
use crate::http::{Body, Response, Routes};

/// Requests a file of `scratch`, mounted at `/`, through both resolvers, which must give the same response.
fn ask(scratch: &Scratch, line: &str, fields: &[(&str, &str)]) -> Response {
    let kernel = Files::open(scratch.path()).unwrap();
    let mut walk = Files::open(scratch.path()).unwrap();
    walk.root.resolve = Resolve::Walk;
    let [kernel, walk] = [kernel, walk].map(|files| {
        let mut routes = Routes::new().files("/", files);
        request(line, fields, |request| routes.dispatch(request))
    });
    assert_eq!(kernel.status(), walk.status(), "{line}");
    assert!(kernel.fields().eq(walk.fields()), "{line}");
    assert_eq!(body(kernel.clone()), body(walk), "{line}");
    kernel
}

fn get(scratch: &Scratch, target: &str) -> Response {
    ask(scratch, &format!("GET {target}"), &[])
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("index.html", "<p>root");
    scratch.write("text.txt", "0123456789");
    scratch.write("sub/index.html", "<p>sub");
    scratch.write("bare/file", "x");
    scratch
}

#[test]
fn a_file_is_sent_with_its_fields() {
    let response = get(&scratch(), "/text.txt?query");
    assert_eq!(response.status(), 200);
    assert_eq!(response.content_length(), Some(10));
    assert_eq!(response.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.field("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(response.field("Accept-Ranges"), Some("bytes"));
    assert!(response.field("Last-Modified").is_some());
    let tag = response.field("ETag").unwrap();
    assert!(tag.starts_with("\"a-") && tag.ends_with('"') && tag.len() > 4, "{tag}");
    assert_eq!(body(response), b"0123456789");
}

#[test]
fn head_has_the_length_and_no_open_file() {
    let response = ask(&scratch(), "HEAD /text.txt", &[]);
    assert_eq!((response.status(), response.content_length()), (200, Some(10)));
    assert!(matches!(response.into_body(), Body::Empty));
}

#[test]
fn media_types() {
    let scratch = Scratch::new();
    for (name, expected) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.HTML", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.cjs", "text/javascript; charset=utf-8"),
        ("a.otf", "font/otf"),
        ("a.woff2", "font/woff2"),
        ("a.ts", "video/mp2t"),
        ("a.svgz", "image/svg+xml"),
        ("a.webmanifest", "application/manifest+json"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.wasm", "application/wasm"),
        ("a.tar.gz", "application/gzip"),
        ("a.neverheardof", "application/octet-stream"),
        ("README", "application/octet-stream"),
    ] {
        scratch.write(name, "");
        let response = get(&scratch, &format!("/{name}"));
        assert_eq!(response.field("Content-Type"), Some(expected), "{name}");
    }
}

#[test]
fn what_is_compressed_is_sent_to_those_who_accept_it() {
    let scratch = scratch();
    scratch.write("drawing.svgz", "zipped");
    assert_eq!(get(&scratch, "/drawing.svgz").field("Content-Encoding"), Some("gzip"));
    for (name, text) in
        [("text.txt.br", "br"), ("text.txt.gz", "gz"), ("index.html.gz", "index"), ("bare/file.gz/x", "")]
    {
        scratch.write(name, text);
    }
    let mut routes = Routes::new().files("/", Files::open(scratch.path()).unwrap().precompressed());
    let mut ask = |target: &str, fields: &[(&str, &str)]| {
        let response = request(&format!("GET {target}"), fields, |request| routes.dispatch(request));
        assert_eq!(response.field("Vary"), (response.status() != 416).then_some("Accept-Encoding"));
        let coding = response.field("Content-Encoding").unwrap_or_default().to_owned();
        let media_type = response.field("Content-Type").unwrap_or_default().to_owned();
        (coding, media_type, String::from_utf8(body(response)).unwrap())
    };
    let text = |coding: &str, body: &str| (coding.to_owned(), "text/plain; charset=utf-8".to_owned(), body.to_owned());
    assert_eq!(ask("/text.txt", &[("Accept-Encoding", "gzip, br")]), text("br", "br"));
    assert_eq!(ask("/text.txt", &[("Accept-Encoding", "gzip")]), text("gzip", "gz"));
    assert_eq!(ask("/text.txt", &[("Accept-Encoding", "br;q=0")]), text("", "0123456789"));
    assert_eq!(ask("/text.txt", &[]), text("", "0123456789"));
    assert_eq!(ask("/text.txt", &[("Accept-Encoding", "gzip"), ("Range", "bytes=1-1")]), text("gzip", "z"));
    assert_eq!(ask("/", &[("Accept-Encoding", "gzip")]).2, "index");
    assert_eq!(ask("/bare/file", &[("Accept-Encoding", "gzip")]).0, "", "a folder is no file");
    // One that was forgotten when the file was changed.
    let old = fs::File::options().write(true).open(scratch.join("text.txt.gz")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    assert_eq!(ask("/text.txt", &[("Accept-Encoding", "gzip")]), text("", "0123456789"));
}

#[test]
fn a_directory_is_answered_with_its_index() {
    let scratch = scratch();
    assert_eq!(body(get(&scratch, "/")), b"<p>root");
    let response = get(&scratch, "/sub/");
    assert_eq!(response.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(body(response), b"<p>sub");
    assert_eq!(get(&scratch, "/bare/").status(), 404);
    // An index that is itself a directory would redirect endlessly.
    fs::create_dir(scratch.join("bare/index.html")).unwrap();
    assert_eq!(get(&scratch, "/bare/").status(), 404);
    assert_eq!(get(&scratch, "/text.txt/").status(), 404);
}

#[test]
fn a_directory_without_a_slash_is_redirected() {
    let scratch = scratch();
    scratch.write("größe x/%41/f", "");
    fs::create_dir(scratch.join("line\nbreak")).unwrap();
    fs::create_dir(scratch.join("a:b")).unwrap();
    scratch.link("link", "sub");
    for (target, location) in [
        ("/sub", "sub/"),
        ("/sub?a=b&c=%20", "sub/?a=b&c=%20"),
        ("/link", "link/"),
        ("/gr%C3%B6%C3%9Fe%20x/%2541", "%2541/"),
        ("/line%0Abreak", "line%0Abreak/"),
        ("/a:b", "./a:b/"),
    ] {
        let response = get(&scratch, target);
        assert_eq!((response.status(), response.field("Location")), (301, Some(location)), "{target}");
    }
}

#[test]
fn a_redirect_never_names_another_host() {
    // The routes pass plain paths only; this checks the second line of defence.
    let scratch = scratch();
    let files = Files::open(scratch.path()).unwrap();
    for line in ["GET /%2Fsub", "GET /%2F%2Fsub", "GET /%5Csub"] {
        let location =
            request(line, &[], |request| files.respond(request, "/sub").field("Location").unwrap().to_owned());
        assert!(matches!(&*location, "sub/" | "%5Csub/"), "{location}");
    }
}

#[test]
fn a_prefix_is_cut_off() {
    let scratch = scratch();
    let mut routes = Routes::new().files("/static/", Files::open(scratch.path()).unwrap());
    let mut answer = |line| request(line, &[], |request| routes.dispatch(request));
    assert_eq!(body(answer("GET /static/")), b"<p>root");
    assert_eq!(body(answer("GET /static/sub/index.html")), b"<p>sub");
    assert_eq!(answer("GET /static?q").field("Location"), Some("static/?q"));
    assert_eq!(answer("GET /static/sub").field("Location"), Some("sub/"));
    assert_eq!(answer("GET /staticsub").status(), 404);
    assert_eq!(answer("GET /sub").status(), 404);
}

#[test]
fn hostile_paths_stay_inside() {
    let scratch = scratch();
    let files = Files::open(scratch.path()).unwrap().follow_links_anywhere();
    for rest in [
        "/..",
        "/../",
        "/../../etc/passwd",
        "/sub/../../etc/passwd",
        "//etc/passwd",
        "///",
        "/sub//index.html",
        "/./text.txt",
        "/text.txt\0",
        "/text.txt\0.html",
        "/\0",
        "/..\\..\\etc/passwd",
        "/%2e%2e/etc/passwd",
        "/;/../etc/passwd",
    ] {
        // Also where links may lead anywhere, and only the path is checked.
        let response = request("GET /x", &[], |request| files.respond(request, rest));
        assert_eq!(response.status(), 404, "{rest:?}");
    }
    let long = format!("/{}", "a/".repeat(4000));
    assert_eq!(request("GET /x", &[], |request| files.respond(request, &long)).status(), 404);
}

#[test]
fn links_inside_are_served_and_links_outside_are_not() {
    let scratch = scratch();
    let outside = Scratch::new();
    outside.write("secret", "secret");
    scratch.link("inside", "text.txt");
    scratch.link("file", outside.join("secret"));
    scratch.link("directory", outside.path());
    scratch.link("up", "..");
    scratch.link("proc", "/proc/self/environ");
    scratch.link("loop", "loop");
    scratch.link("dangling", "none");
    assert_eq!(body(get(&scratch, "/inside")), b"0123456789");
    for target in ["/file", "/directory", "/directory/", "/directory/secret", "/up", "/up/", "/up/etc/passwd", "/proc"]
    {
        let response = get(&scratch, target);
        assert_eq!(response.status(), 403, "{target}");
        assert!(!body(response).windows(6).any(|bytes| bytes == b"secret"), "{target}");
    }
    for target in ["/loop", "/dangling"] {
        assert_eq!(get(&scratch, target).status(), 404, "{target}");
    }
    let mut routes = Routes::new().files("/", Files::open(scratch.path()).unwrap().follow_links_anywhere());
    assert_eq!(body(request("GET /file", &[], |request| routes.dispatch(request))), b"secret");
}

#[test]
fn only_regular_files_are_served() {
    let scratch = scratch();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, scratch.join("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _listener = UnixListener::bind(scratch.join("socket")).unwrap();
    assert_eq!(get(&scratch, "/fifo").status(), 404);
    assert_eq!(get(&scratch, "/socket").status(), 404);
    scratch.link("zero", "/dev/zero");
    assert_eq!(get(&scratch, "/zero").status(), 403);
    let mut routes = Routes::new().files("/", Files::open(scratch.path()).unwrap().follow_links_anywhere());
    assert_eq!(request("GET /zero", &[], |request| routes.dispatch(request)).status(), 404);
}

#[test]
fn a_file_that_may_not_be_read_is_forbidden() {
    let scratch = scratch();
    fs::set_permissions(scratch.join("text.txt"), fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything.
    let expected = if rustix::process::geteuid().is_root() { 200 } else { 403 };
    assert_eq!(get(&scratch, "/text.txt").status(), expected);
    assert_eq!(refuse(Errno::ACCESS).status(), 403);
}

#[test]
fn odd_names_and_empty_files() {
    let scratch = scratch();
    scratch.write("empty.txt", "");
    scratch.write("zeile\numbruch größe 100%.txt", "odd");
    let response = get(&scratch, "/empty.txt");
    assert_eq!((response.status(), response.content_length()), (200, Some(0)));
    assert_eq!(body(response), b"");
    assert_eq!(body(get(&scratch, "/zeile%0Aumbruch%20gr%C3%B6%C3%9Fe%20100%25.txt")), b"odd");
}

#[test]
fn dot_files_are_served_if_enabled() {
    let scratch = scratch();
    let names = [".env", "...", "sub/.env", ".git/config", "sub/.git/config", ".well-known/.env"];
    for name in names {
        scratch.write(name, "secret");
    }
    scratch.write(".well-known/security.txt", "public");
    scratch.write("sub/.well-known/x", "secret");
    assert_eq!(body(get(&scratch, "/.well-known/security.txt")), b"public");
    for name in names {
        let mut routes = Routes::new().files("/", Files::open(scratch.path()).unwrap().dot_files());
        let response = request(&format!("GET /{name}"), &[], |request| routes.dispatch(request));
        assert_eq!(body(response), b"secret", "{name}");
        assert_eq!(get(&scratch, &format!("/{name}")).status(), 404, "{name}");
    }
    for hidden in [
        "/.nothing",
        "/.git",
        "/.git/",
        "/%2egit/config",
        "/%2Eenv",
        "/sub/../.env",
        "/sub/.well-known/x",
        "/.well-known",
        "/.WELL-KNOWN/security.txt",
    ] {
        assert_eq!(get(&scratch, hidden).status(), 404, "{hidden}");
    }
}

#[test]
fn exhausted_resources_give_503() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN] {
        let response = refuse(errno);
        assert_eq!((response.status(), response.field("Retry-After")), (503, Some("1")), "{errno}");
    }
    assert_eq!(refuse(Errno::IO).status(), 500);
}

#[test]
fn without_descriptors_it_is_503_and_none_leaks() {
    const CHILD: &str = "SOCKEYE_TEST_WITHOUT_DESCRIPTORS";
    if env::var_os(CHILD).is_none() {
        // The limit applies to the process, so this runs in one of its own.
        let name = "http::files::tests::without_descriptors_it_is_503_and_none_is_lost";
        let child = Command::new(env::current_exe().unwrap()).args(["--exact", name]).env(CHILD, "1").output().unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        return;
    }
    let scratch = scratch();
    for walk in [false, true] {
        let mut files = Files::open(scratch.path()).unwrap();
        if walk {
            files.root.resolve = Resolve::Walk;
        }
        let mut routes = Routes::new().files("/", files);
        let mut status =
            |line, name, value| request(line, &[(name, value)], |request| routes.dispatch(request)).status();
        let limit = rustix::process::getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
        let mut taken: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        assert_eq!(status("GET /text.txt", "X", ""), 503);
        taken.pop();
        // One descriptor is enough for any number of requests, one after another.
        for _ in 0..100 {
            assert_eq!(status("GET /text.txt", "X", ""), 200);
            assert_eq!(status("GET /text.txt", "If-None-Match", "*"), 304);
            assert_eq!(status("GET /text.txt", "If-Match", "\"other\""), 412);
            assert_eq!(status("GET /text.txt", "Range", "bytes=10-"), 416);
            assert_eq!(status("GET /none", "X", ""), 404);
            assert_eq!(status("GET /sub", "X", ""), 301);
        }
        drop(taken);
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}

#[test]
fn the_tag_follows_the_file() {
    let scratch = scratch();
    let tag = |scratch: &Scratch| get(scratch, "/text.txt").field("ETag").unwrap().to_owned();
    let first = tag(&scratch);
    assert_eq!(first, tag(&scratch));
    // Replaced by another file of the same length and time.
    let old = fs::metadata(scratch.join("text.txt")).unwrap().modified().unwrap();
    scratch.write("new", "9876543210");
    fs::File::options().write(true).open(scratch.join("new")).unwrap().set_modified(old).unwrap();
    fs::rename(scratch.join("new"), scratch.join("text.txt")).unwrap();
    let second = tag(&scratch);
    assert_ne!(first, second);
    // Touched within the same second.
    let file = fs::File::options().write(true).open(scratch.join("text.txt")).unwrap();
    file.set_modified(old + Duration::from_nanos(1000)).unwrap();
    assert_ne!(second, tag(&scratch));
}

#[test]
fn preconditions() {
    let scratch = scratch();
    let response = get(&scratch, "/text.txt");
    let tag = response.field("ETag").unwrap().to_owned();
    let date = response.field("Last-Modified").unwrap().to_owned();
    let long = format!("{}{tag}", "\"no\", ".repeat(1000));
    let early = "Thu, 01 Jan 1970 00:00:01 GMT";
    for (name, value, status) in [
        ("If-None-Match", &*tag, 304),
        ("If-None-Match", "\"other\"", 200),
        ("If-None-Match", "*", 304),
        ("If-None-Match", &format!("W/{tag}"), 304),
        ("If-None-Match", &*long, 304),
        ("If-Modified-Since", &*date, 304),
        ("If-Modified-Since", early, 200),
        ("If-Modified-Since", "yesterday", 200),
        ("If-Match", &*tag, 200),
        ("If-Match", "\"other\"", 412),
        ("If-Match", "*", 200),
        ("If-Unmodified-Since", &*date, 200),
        ("If-Unmodified-Since", early, 412),
    ] {
        for method in ["GET", "HEAD"] {
            let response = ask(&scratch, &format!("{method} /text.txt"), &[(name, value)]);
            assert_eq!(response.status(), status, "{method} {name}: {value}");
            if status == 304 {
                assert_eq!(response.field("ETag"), Some(&*tag));
                assert_eq!(response.content_length(), None);
                assert!(response.field("Content-Type").is_none());
                assert!(matches!(response.into_body(), Body::Empty));
            }
        }
    }
    assert_eq!(ask(&scratch, "GET /none", &[("If-Match", "\"other\"")]).status(), 404);
}

#[test]
fn ranges() {
    let scratch = scratch();
    let tag = get(&scratch, "/text.txt").field("ETag").unwrap().to_owned();
    for (range, status, content_range, sent) in [
        ("bytes=0-0", 206, Some("bytes 0-0/10"), "0"),
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=8-", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=0-18446744073709551615", 206, Some("bytes 0-9/10"), "0123456789"),
        ("bytes=10-", 416, Some("bytes */10"), "416 "),
        ("bytes=9-5", 200, None, "0123456789"),
        ("bytes=--5", 200, None, "0123456789"),
        ("bytes=0-0,2-3", 200, None, "0123456789"),
        ("lines=0-1", 200, None, "0123456789"),
    ] {
        let response = ask(&scratch, "GET /text.txt", &[("Range", range)]);
        assert_eq!((response.status(), response.field("Content-Range")), (status, content_range), "{range}");
        let length = response.content_length().unwrap();
        let sent_bytes = body(response);
        assert_eq!(length, sent_bytes.len() as u64, "{range}");
        assert!(sent_bytes.starts_with(sent.as_bytes()), "{range}");
        assert!(status == 416 || sent_bytes == sent.as_bytes(), "{range}");
    }
    let many = format!("bytes={}", "0-0,".repeat(1300));
    let whole = ask(&scratch, "GET /text.txt", &[("Range", &many)]);
    assert_eq!((whole.status(), whole.content_length()), (200, Some(10)));
    assert_eq!(ask(&scratch, "HEAD /text.txt", &[("Range", "bytes=0-0")]).status(), 200);
    for (condition, status) in [(&*tag, 206), ("\"other\"", 200)] {
        let fields = [("Range", "bytes=0-0"), ("If-Range", condition)];
        assert_eq!(ask(&scratch, "GET /text.txt", &fields).status(), status, "{condition}");
    }
}

#[test]
fn last_modified_is_not_in_the_future() {
    let scratch = scratch();
    let file = fs::File::options().write(true).open(scratch.join("text.txt")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 1000)).unwrap();
    assert_eq!(get(&scratch, "/text.txt").field("Last-Modified"), Some("Fri, 01 Jan 2100 00:00:00 GMT"));
    file.set_modified(SystemTime::UNIX_EPOCH - Duration::from_secs(1000)).unwrap();
    assert_eq!(get(&scratch, "/text.txt").field("Last-Modified"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
}

#[test]
fn added_fields_are_sent_with_the_file() {
    let scratch = scratch();
    let files = Files::open(scratch.path()).unwrap().header("Cache-Control", "max-age=60").unwrap();
    let mut routes = Routes::new().files("/", files);
    for (line, fields, status, cached) in [
        ("GET /text.txt", &[][..], 200, true),
        ("GET /text.txt", &[("If-None-Match", "*")], 304, true),
        ("GET /text.txt", &[("Range", "bytes=0-0")], 206, true),
        ("GET /none", &[], 404, false),
    ] {
        let response = request(line, fields, |request| routes.dispatch(request));
        assert_eq!(
            (response.status(), response.field("Cache-Control").is_some()),
            (status, cached),
            "{line} {fields:?}"
        );
    }
    assert!(Files::open(scratch.path()).unwrap().header("X-A", "a\r\nb").is_err());
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let scratch = scratch();
    let Body::File(mut file) = get(&scratch, "/text.txt").into_body() else { panic!("no file") };
    let mut piece = [0; 4];
    assert_eq!(file.read_at(&mut piece).unwrap(), 4);
    assert_eq!(file.read_at(&mut piece).unwrap(), 4);
    assert_eq!(&piece, b"0123");
    file.advance(3);
    assert_eq!(file.read_at(&mut piece).unwrap(), 4);
    assert_eq!(&piece, b"3456");
    fs::File::options().write(true).open(scratch.join("text.txt")).unwrap().set_len(5).unwrap();
    assert_eq!(file.read_at(&mut piece).unwrap(), 2);
    file.advance(2);
    assert_eq!(file.remaining(), 5);
    assert_eq!(file.read_at(&mut piece).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(file.read_at(&mut []).unwrap(), 0);
}

#[test]
fn a_file_that_grows_is_sent_with_its_first_length() {
    let scratch = scratch();
    let response = get(&scratch, "/text.txt");
    scratch.write("text.txt", "0123456789 and more");
    assert_eq!(body(response), b"0123456789");
}

#[test]
fn a_file_larger_than_memory_is_not_read() {
    let scratch = scratch();
    let length = 1 << 40;
    fs::File::create(scratch.join("huge")).unwrap().set_len(length).unwrap();
    let mut routes = Routes::new().files("/", Files::open(scratch.path()).unwrap());
    let response = request("GET /huge", &[("Range", "bytes=-5")], |request| routes.dispatch(request));
    assert_eq!(response.field("Content-Range"), Some("bytes 1099511627771-1099511627775/1099511627776"));
    assert_eq!(body(response), [0; 5]);
    let response = request("GET /huge", &[], |request| routes.dispatch(request));
    assert_eq!(response.content_length(), Some(length));
}
