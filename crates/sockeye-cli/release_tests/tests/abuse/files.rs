//! ST: files of a directory that nothing may leave.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::support::{
    Case, Noise, PATIENCE, Peer, Reply, Request, Row, Server, TempDir, eventually, pass, rows, scaled,
};

const SECRET: &str = "bytes from outside";

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow: st08_readers_below_the_minimum_rate_are_closed;
        Heavy: st09_resets_in_mid_file_leave_nothing_open;
        Quick:
            st01_paths_never_leave_the_root,
            st02_links_are_followed_inside_only,
            st05_only_plain_files_are_read,
            st06_ranges_are_cheap_and_exact;
    ]
}

/// A folder with `secret.txt` beside the served folder `root`.
struct Site {
    outside: TempDir,
    root: PathBuf,
}

impl Site {
    fn new() -> Self {
        let outside = TempDir::new();
        outside.file("secret.txt", SECRET);
        outside.file("root/index.html", "<h1>home</h1>");
        outside.file("root/a/page.html", "<h1>page</h1>");
        outside.file("rootless/secret.txt", SECRET);
        let root = outside.path().join("root");
        Self { outside, root }
    }
}

fn get(server: &Server, target: impl AsRef<[u8]>) -> Reply {
    ask(server, &Request::get(target))
}

fn ask(server: &Server, request: &Request) -> Reply {
    let mut peer = Peer::connect(server);
    peer.send(request.bytes());
    peer.reply().unwrap_or_else(|end| panic!("{end:?} instead of an answer to {request:?}"))
}

fn denied(server: &Server, target: &[u8]) {
    let reply = get(server, target);
    let what = String::from_utf8_lossy(target).into_owned();
    assert!(matches!(reply.status, 400 | 403 | 404), "{what}: {}", reply.status);
    let body = String::from_utf8_lossy(&reply.body);
    assert!(!body.contains(SECRET) && !body.contains("root:"), "{what}: {body}");
}

fn st01_paths_never_leave_the_root() {
    let site = Site::new();
    let mut server = Server::serve(&site.root);
    let row = Row::begin_serve(&server, &site.root);
    let targets: [&[u8]; 27] = [
        b"/../../etc/passwd",
        b"/../secret.txt",
        b"/../rootless/secret.txt",
        b"/a/../../secret.txt",
        b"/%2e%2e/secret.txt",
        b"/%2E%2e/%2e%2E/etc/passwd",
        b"/.%2e/secret.txt",
        b"/..%2fsecret.txt",
        b"/..%2Fsecret.txt",
        b"/%2e%2e%2fsecret.txt",
        b"/%252e%252e/secret.txt",
        b"/%252e%252e%252fsecret.txt",
        b"/..\\secret.txt",
        b"/..%5csecret.txt",
        b"/a\\..\\..\\secret.txt",
        b"//etc/passwd",
        b"///etc/passwd",
        b"/a/./../..",
        b"/a/./../../secret.txt",
        b"/%00",
        b"/index.html%00.png",
        b"/%c0%ae%c0%ae/secret.txt",
        b"/%zz",
        b"/%",
        b"/;/../../secret.txt",
        b"/..;/secret.txt",
        b"/..",
    ];
    for target in targets {
        denied(&server, target);
    }
    let absolute = format!("{}", site.outside.path().join("secret.txt").display());
    denied(&server, absolute.as_bytes());
    for target in [&b"../secret.txt"[..], b"file:///etc/passwd", b"http://localhost/../secret.txt", b"*"] {
        denied(&server, target);
    }
    assert_eq!(get(&server, "/a/../index.html").body, b"<h1>home</h1>");
    assert_eq!(get(&server, "/").body, b"<h1>home</h1>");
    row.end(&mut server);
}

fn st02_links_are_followed_inside_only() {
    let site = Site::new();
    let link = |target: &str, name: &str| symlink(target, site.root.join(name)).expect("own folder");
    link("../secret.txt", "file-outside");
    link("..", "folder-outside");
    link("/etc/passwd", "absolute-file");
    link("/etc", "absolute-folder");
    link("file-outside", "chain");
    link("chain", "chain-of-chains");
    link("/proc/self/environ", "environ");
    link("/proc/self", "self");
    link(concat!("/proc/self/root", "/etc/passwd"), "magic");
    link("loop", "loop");
    link("a/page.html", "inside");
    link("inside", "inside-chain");
    link("a", "folder-inside");
    link("../index.html", "a/up");
    let mut server = Server::serve(&site.root);
    let row = Row::begin_serve(&server, &site.root);
    for target in [
        "/file-outside",
        "/folder-outside/secret.txt",
        "/folder-outside",
        "/folder-outside/",
        "/absolute-file",
        "/absolute-folder/passwd",
        "/chain",
        "/chain-of-chains",
        "/environ",
        "/self/environ",
        "/self/cwd/secret.txt",
        "/magic",
        "/loop",
    ] {
        denied(&server, target.as_bytes());
    }
    for target in ["/inside", "/inside-chain", "/folder-inside/page.html"] {
        let reply = get(&server, target);
        assert_eq!((reply.status, reply.body.as_slice()), (200, &b"<h1>page</h1>"[..]), "{target}");
    }
    assert_eq!(get(&server, "/a/up").body, b"<h1>home</h1>");
    row.end(&mut server);
}

fn st05_only_plain_files_are_read() {
    let site = Site::new();
    let path = |name: &str| site.root.join(name);
    assert!(Command::new("mkfifo").arg(path("fifo")).status().expect("mkfifo").success());
    let _socket = UnixListener::bind(path("socket")).expect("own folder");
    symlink("/dev/zero", path("zero")).expect("own folder");
    fs::write(path("closed.txt"), "closed").expect("own folder");
    fs::set_permissions(path("closed.txt"), Permissions::from_mode(0o000)).expect("own file");
    fs::write(path("empty.txt"), "").expect("own folder");
    fs::write(path("two\nlines.txt"), "newline").expect("own folder");
    fs::write(path("\u{fc}ber.txt"), "utf-8").expect("own folder");
    let mut server = Server::serve(&site.root);
    let row = Row::begin_serve(&server, &site.root);

    for target in ["/fifo", "/socket", "/zero"] {
        let reply = get(&server, target);
        assert!(matches!(reply.status, 403 | 404), "{target}: {}", reply.status);
    }
    let closed = get(&server, "/closed.txt");
    // Root may read it all the same.
    let allowed = rustix::process::geteuid().is_root() && closed.status == 200;
    assert!(allowed || matches!(closed.status, 403 | 404), "mode 000: {}", closed.status);
    let folder = get(&server, "/a");
    assert_eq!((folder.status, folder.field("Location")), (301, Some("a/")));
    assert!(matches!(get(&server, "/a/").status, 403 | 404), "a folder without an index");
    let empty = get(&server, "/empty.txt");
    assert_eq!((empty.status, empty.field("Content-Length")), (200, Some("0")));
    let newline = get(&server, "/two%0alines.txt");
    assert!(matches!(newline.status, 200 | 400 | 403 | 404), "a newline: {}", newline.status);
    let utf8 = get(&server, "/%c3%bcber.txt");
    assert_eq!((utf8.status, utf8.body.as_slice()), (200, &b"utf-8"[..]));
    // A location that is echoed cannot end its line.
    fs::create_dir(path("x\r\nSet-Cookie: a")).expect("own folder");
    let split = get(&server, "/x%0d%0aSet-Cookie:%20a");
    assert_eq!(split.field("Set-Cookie"), None);
    row.end(&mut server);
}

fn st06_ranges_are_cheap_and_exact() {
    const CHEAP: Duration = Duration::from_millis(5);
    let site = Site::new();
    let content = Noise::new(6).bytes(1000);
    fs::write(site.root.join("data.bin"), &content).expect("own folder");
    let mut server = Server::serve(&site.root);
    let row = Row::begin_serve(&server, &site.root);
    let many = format!("bytes={}", ["0-0"; 1300].join(","));
    let inverse: String = (0..1300).map(|n| format!(",{n}-{}", n + 500)).collect();
    let overlapping = format!("bytes=0-{inverse}");
    let requests = [
        ("bytes=0-99", Some(0..100)),
        ("bytes=-1", Some(999..1000)),
        ("bytes=990-", Some(990..1000)),
        ("bytes=0-18446744073709551615", Some(0..1000)),
        ("bytes=-18446744073709551615", Some(0..1000)),
        (many.as_str(), None),
        (overlapping.as_str(), None),
        ("bytes=9-5", None),
        ("bytes=--5", None),
        ("bytes=18446744073709551615-", None),
        ("bytes=99999999999999999999999-", None),
        ("bytes=0-99999999999999999999999", None),
        ("bytes=1000-", None),
        ("bytes=-0", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("lines=1-2", None),
        ("-1", None),
        ("9-5", None),
    ];
    for (value, part) in requests {
        let what = &value[..value.len().min(60)];
        let request = Request::get("/data.bin").add("Range", value);
        row.cheap(&server, what, CHEAP, 10, || {
            let reply = ask(&server, &request);
            match (reply.status, &part) {
                (206, _) => {
                    let field = reply.field("Content-Range").expect("of one part");
                    let range = field.strip_prefix("bytes ").and_then(|rest| rest.strip_suffix("/1000"));
                    let (first, last) = range.and_then(|range| range.split_once('-')).expect("first-last");
                    let range = first.parse().expect("a number")..last.parse::<usize>().expect("a number") + 1;
                    assert!(part.as_ref().is_none_or(|part| *part == range), "{what}: {field}");
                    assert!(reply.body == content[range], "{what}: other bytes");
                }
                (200, None) => assert!(reply.body == content, "{what}: other bytes"),
                (416, None) => assert_eq!(reply.field("Content-Range"), Some("bytes */1000"), "{what}"),
                (status, _) => panic!("{what}: {status}"),
            }
        });
    }
    let huge = [
        Request::get("/data.bin").add("Range", format!("bytes={}", "0-0,".repeat(16 << 10))),
        Request::get("/data.bin").add("If-None-Match", "\"x\", ".repeat(16 << 10)),
    ];
    for request in &huge {
        row.cheap(&server, "64 KB of Range or If-None-Match", CHEAP, 10, || {
            assert_eq!(ask(&server, request).status, 431, "over the limit of a head");
        });
    }
    let tag = ask(&server, &Request::get("/data.bin")).field("ETag").expect("a tag").to_owned();
    for (list, status) in
        [("\"x\", ".repeat(3000), 200), (format!("{}{tag}", "W/\"x\", ".repeat(2000)), 304), ("\"".repeat(15_000), 200)]
    {
        row.cheap(&server, "If-None-Match of nearly 16 KB", CHEAP, 10, || {
            assert_eq!(ask(&server, &Request::get("/data.bin").add("If-None-Match", &list)).status, status);
        });
    }
    row.end(&mut server);
}

fn st08_readers_below_the_minimum_rate_are_closed() {
    const PEERS: u64 = 200;
    let site = Site::new();
    File::create(site.root.join("huge.bin")).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    let mut server = Server::serve(&site.root);
    let row = Row::begin_serve(&server, &site.root);
    let mut peers: Vec<Peer> = (0..PEERS)
        .map(|_| {
            let mut peer = Peer::connect_with_buffers(&server, 4096);
            peer.send(Request::get("/huge.bin").bytes());
            peer
        })
        .collect();
    let bound = row.resident() + PEERS * (256 << 10);
    let process = server.process();
    let full = row.descriptors() + peers.len();
    eventually("all are served", PATIENCE, || process.descriptors() >= full);
    eventually("the slow readers are closed", Duration::from_secs(60) + PATIENCE, || {
        peers.iter_mut().for_each(|peer| peer.trickle(1));
        pass(Duration::from_secs(1));
        assert!(process.resident() <= bound, "{} bytes resident", process.resident());
        process.descriptors() <= row.descriptors()
    });
    row.canaries_sing();
    drop(peers);
    row.end(&mut server);
}

fn st09_resets_in_mid_file_leave_nothing_open() {
    let site = Site::new();
    let content = Noise::new(9).bytes(1_000_000);
    fs::write(site.root.join("big.bin"), &content).expect("own folder");
    let mut server = Server::serve(&site.root);
    let row = Row::begin_serve(&server, &site.root);
    let mut asker = Peer::connect(&server);
    asker.send(Request::get("/big.bin").method("HEAD").bytes());
    let head = asker.reply_to("HEAD").expect("an answer");
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("1000000")));
    let known = Request::get("/big.bin").add("If-None-Match", head.field("ETag").expect("a tag")).bytes();
    for _ in 0..scaled(1000) {
        asker.send(&known);
        assert_eq!(asker.reply().expect("an answer").status, 304);
    }
    drop(asker);
    let mut noise = Noise::new(90);
    let request = Request::get("/big.bin").bytes();
    let mut slope = Vec::new();
    let started = Instant::now();
    for round in 0..scaled(10_000) {
        let mut peer = Peer::connect(&server);
        peer.send(&request);
        peer.read_exactly(noise.below(1_000_000));
        peer.reset();
        if round % 1000 == 999 {
            slope.push(server.process().resident());
        }
    }
    println!("{} resets in {:?}; resident: {slope:?}", scaled(10_000), started.elapsed());
    let (first, last) = (slope.first().copied().unwrap_or_default(), slope.last().copied().unwrap_or_default());
    assert!(last <= first + (4 << 20), "resident memory climbs: {slope:?}");
    row.end(&mut server);
}
