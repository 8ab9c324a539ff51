use crate::http::testing::{Scratch, body, request};
use crate::http::{Files, Response, Routes};

fn ask(routes: &mut Routes, line: &str) -> Response {
    request(line, &[], |request| routes.dispatch(request))
}

#[test]
fn without_routes_the_response_is_404() {
    let response = ask(&mut Routes::new(), "GET /");
    assert_eq!(response.status(), 404);
    assert_eq!(response.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(body(response), b"404 Not Found\n");
}

#[test]
fn a_handler_keeps_state_and_sees_the_request() {
    let mut count = 0;
    let mut routes = Routes::new().get("/a b", move |request| {
        count += 1;
        let method = request.method();
        Response::text(format!(
            "{count} {method} {} {:?} {:?}",
            request.path(),
            request.query(),
            request.header("HOST")
        ))
    });
    assert_eq!(body(ask(&mut routes, "GET /a%20b?q=%20")), b"1 GET /a b Some(\"q=%20\") Some([97])");
    let head = ask(&mut routes, "HEAD /a%20b");
    assert_eq!((head.status(), head.content_length()), (200, Some(27)));
    assert_eq!(body(head), b"");
    assert!(body(ask(&mut routes, "GET /a%20b")).starts_with(b"3 "));
}

#[test]
fn a_405_lists_the_allowed_methods() {
    let scratch = Scratch::new();
    let mut routes = Routes::new()
        .get("/get", |_| Response::new(204))
        .post("/post", |_| Response::new(204))
        .get("/both", |_| Response::text("get"))
        .post("/both", |_| Response::text("post"))
        .files("/files", Files::open(scratch.path()).unwrap());
    for (line, allow) in [
        ("POST /get", "GET, HEAD"),
        ("get /get", "GET, HEAD"),
        ("GET /post", "POST"),
        ("HEAD /post", "POST"),
        ("DELETE /both", "GET, HEAD, POST"),
        ("PUT /files", "GET, HEAD"),
    ] {
        let response = ask(&mut routes, line);
        assert_eq!((response.status(), response.field("Allow")), (405, Some(allow)), "{line}");
    }
    // OPTIONS asks for the list, so it is a success.
    let response = ask(&mut routes, "OPTIONS /files/none");
    assert_eq!((response.status(), response.field("Allow")), (204, Some("GET, HEAD")));
    assert_eq!(body(ask(&mut routes, "POST /both")), b"post");
    assert_eq!(body(ask(&mut routes, "GET /both")), b"get");
    assert_eq!(ask(&mut routes, "DELETE /none").status(), 404);
}

#[test]
fn exact_paths_precede_the_longest_prefix() {
    let directories = ["root", "a", "ab"].map(|name| {
        let scratch = Scratch::new();
        scratch.write("f", name);
        scratch.write("b/f", format!("{name} below"));
        scratch
    });
    let files = |at: usize| Files::open(directories[at].path()).unwrap();
    let mut routes = Routes::new()
        .files("/", files(0))
        .files("/a/b", files(2))
        .files("a/", files(1))
        .get("/a/b/exact", |_| Response::text("exact"));
    for (line, text) in [
        ("GET /f", "root"),
        ("GET /b/f", "root below"),
        ("GET /a/f", "a"),
        ("GET /a/b/f", "ab"),
        ("GET /a/b/b/f", "ab below"),
        ("GET /a/b/exact", "exact"),
    ] {
        assert_eq!(body(ask(&mut routes, line)), text.as_bytes(), "{line}");
    }
    assert_eq!(ask(&mut routes, "GET /ab/f").status(), 404);
}

#[test]
fn a_route_set_again_is_replaced() {
    let directories = [Scratch::new(), Scratch::new()];
    directories[1].write("f", "second");
    let mut routes = Routes::new()
        .get("/", |_| Response::text("first"))
        .get("/", |_| Response::text("second"))
        .files("/x", Files::open(directories[0].path()).unwrap())
        .files("/x/", Files::open(directories[1].path()).unwrap());
    assert_eq!(body(ask(&mut routes, "GET /")), b"second");
    assert_eq!(body(ask(&mut routes, "GET /x/f")), b"second");
}

#[test]
fn every_spelling_of_a_path_leads_to_the_same_route() {
    let mut routes = Routes::new().get("/admin", |_| Response::new(403));
    for target in ["/admin", "/%61dmin", "/x/../admin", "//admin", "/./admin", "/admin?x"] {
        assert_eq!(ask(&mut routes, &format!("GET {target}")).status(), 403, "{target}");
    }
}

#[test]
fn preconditions_apply_to_a_handler_with_a_tag() {
    let page = Response::bytes("text/html", b"page").with_etag().header("Content-Security-Policy", "x").unwrap();
    let tag = page.field("ETag").unwrap().to_owned();
    let mut routes = Routes::new().get("/", move |_| page.clone()).get("/plain", |_| Response::text("plain"));
    let mut status = |line, name, value: &str| {
        let response = request(line, &[(name, value)], |request| routes.dispatch(request));
        (response.status(), response.field("Content-Security-Policy").is_some())
    };
    assert_eq!(status("GET /", "If-None-Match", &tag), (304, true));
    assert_eq!(status("HEAD /", "If-None-Match", &tag), (304, true));
    assert_eq!(status("GET /", "If-None-Match", "\"other\""), (200, true));
    assert_eq!(status("GET /", "If-Match", "\"other\""), (412, false));
    // The response has no date, so conditions on dates are ignored.
    assert_eq!(status("GET /", "If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"), (200, true));
    assert_eq!(status("GET /", "If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:01 GMT"), (200, true));
    assert_eq!(status("GET /plain", "If-None-Match", "*"), (200, false));
}
