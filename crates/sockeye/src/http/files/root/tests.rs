use std::{env, fs, io::Read, os::unix::fs::FileTypeExt, process};

use rustix::io::Errno;

use super::{Resolve, Root};
use crate::http::{files::path::Below, testing::Scratch};

/// The result of both resolvers, which must agree.
fn read(scratch: &Scratch, path: &str) -> Result<String, Errno> {
    let answers = both(scratch).map(|root| {
        let mut file = root.file(Below::parse(path).unwrap())?;
        if file.metadata().unwrap().is_dir() {
            return Ok("(directory)".to_owned());
        }
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Ok(text)
    });
    let [kernel, walk] = answers;
    assert_eq!(kernel, walk, "{path}");
    kernel
}

fn both(scratch: &Scratch) -> [Root; 2] {
    let kernel = Root::open(scratch.path()).unwrap();
    let mut walk = Root::open(scratch.path()).unwrap();
    walk.resolve = Resolve::Walk;
    [kernel, walk]
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("top", "top");
    scratch.write("a/near", "near");
    scratch.write("a/b/deep", "deep");
    scratch
}

#[test]
#[cfg(target_os = "linux")]
fn the_kernel_resolves_here() {
    // Otherwise the tests would compare the walk with itself.
    if Root::open(scratch().path()).unwrap().resolve == Resolve::Walk {
        eprintln!("openat2 is missing here: only the walk is tested");
    }
}

#[test]
fn files_and_directories_open() {
    let scratch = scratch();
    scratch.write("größe/zeile\numbruch %41", "odd");
    scratch.write("empty", "");
    assert_eq!(read(&scratch, "top").unwrap(), "top");
    assert_eq!(read(&scratch, "a/b/deep").unwrap(), "deep");
    assert_eq!(read(&scratch, "größe/zeile\numbruch %41").unwrap(), "odd");
    assert_eq!(read(&scratch, "empty").unwrap(), "");
    assert_eq!(read(&scratch, "a").unwrap(), "(directory)");
    assert_eq!(read(&scratch, "a/b").unwrap(), "(directory)");
}

#[test]
fn missing_files_are_not_found() {
    let scratch = scratch();
    assert_eq!(read(&scratch, "none").unwrap_err(), Errno::NOENT);
    assert_eq!(read(&scratch, "none/none").unwrap_err(), Errno::NOENT);
    assert_eq!(read(&scratch, "top/none").unwrap_err(), Errno::NOTDIR);
    assert_eq!(read(&scratch, &"n".repeat(300)).unwrap_err(), Errno::NAMETOOLONG);
    assert_eq!(read(&scratch, &"a/".repeat(3000)[..5999]).unwrap_err(), Errno::NAMETOOLONG);
}

#[test]
fn links_that_stay_are_followed() {
    let scratch = scratch();
    for (name, target) in [
        ("file", "a/b/deep"),
        ("directory", "a/b"),
        ("slash", "a/b/"),
        ("chain", "chain2"),
        ("chain2", "directory/deep"),
        ("here", "."),
        ("a/up", ".."),
        ("a/b/around", "../../a/./b//deep"),
        // `..` goes up from the target of `directory`, not from the link.
        ("mid", "directory/../near"),
        ("enter", "a/b/../../a/b/.."),
    ] {
        scratch.link(name, target);
    }
    for (path, text) in [
        ("file", "deep"),
        ("directory", "(directory)"),
        ("directory/deep", "deep"),
        ("slash/deep", "deep"),
        ("chain", "deep"),
        ("here", "(directory)"),
        ("here/here/here/top", "top"),
        ("a/up", "(directory)"),
        ("a/up/a/up/a/near", "near"),
        ("a/b/around", "deep"),
        ("mid", "near"),
        ("enter/near", "near"),
        ("enter", "(directory)"),
    ] {
        assert_eq!(read(&scratch, path).as_deref(), Ok(text), "{path}");
    }
}

#[test]
fn links_that_leave_are_refused() {
    let scratch = scratch();
    let outside = Scratch::new();
    outside.write("secret", "secret");
    let root = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
    let neighbour = outside.path().file_name().unwrap().to_str().unwrap().to_owned();
    let links = [
        ("absolute", outside.join("secret").to_str().unwrap().to_owned()),
        ("absolute-directory", outside.path().to_str().unwrap().to_owned()),
        ("relative", format!("../{neighbour}/secret")),
        ("parent", "..".to_owned()),
        ("far", "../../../../../../../../etc/passwd".to_owned()),
        ("a/b/climb", "../../../etc/passwd".to_owned()),
        ("chain", "chain2".to_owned()),
        ("chain2", "relative".to_owned()),
        // Leaves and returns.
        ("return", format!("../{root}/top")),
        ("mid", format!("a/../../{neighbour}/secret")),
        // Absolute, although to a path inside.
        ("inside", scratch.join("top").to_str().unwrap().to_owned()),
        ("slash", "/".to_owned()),
        ("proc", "/proc/self/cwd".to_owned()),
        ("proc-exe", "/proc/self/exe".to_owned()),
    ];
    for (name, target) in &links {
        scratch.link(name, target);
    }
    for (name, _) in &links {
        assert_eq!(read(&scratch, name).unwrap_err(), Errno::XDEV, "{name}");
    }
    for path in ["absolute-directory/secret", "parent/etc", "slash/etc/passwd", "proc/Cargo.toml", "parent/none"] {
        assert_eq!(read(&scratch, path).unwrap_err(), Errno::XDEV, "{path}");
    }
}

#[test]
fn dangling_links_and_loops_fail() {
    let scratch = scratch();
    scratch.link("self", "self");
    scratch.link("one", "two");
    scratch.link("two", "one");
    scratch.link("grow", "grow/grow");
    scratch.link("dangling", "none");
    scratch.link("to-file", "top/");
    scratch.link("through-file", "top/x");
    for path in ["self", "one", "two/x", "grow"] {
        assert_eq!(read(&scratch, path).unwrap_err(), Errno::LOOP, "{path}");
    }
    assert_eq!(read(&scratch, "dangling").unwrap_err(), Errno::NOENT);
    assert_eq!(read(&scratch, "to-file").unwrap_err(), Errno::NOTDIR);
    assert_eq!(read(&scratch, "through-file").unwrap_err(), Errno::NOTDIR);
}

#[test]
fn as_many_links_as_the_kernel_allows() {
    let scratch = scratch();
    scratch.link("link0", "top");
    for number in 1..=40 {
        scratch.link(&format!("link{number}"), format!("link{}", number - 1));
    }
    assert_eq!(read(&scratch, "link39").as_deref(), Ok("top"));
    assert_eq!(read(&scratch, "link40").unwrap_err(), Errno::LOOP);
}

#[test]
fn a_fifo_and_a_device_are_not_opened() {
    let scratch = scratch();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, scratch.join("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for root in both(&scratch) {
        let fifo = root.file(Below::parse("fifo").unwrap()).unwrap();
        assert!(fifo.metadata().unwrap().file_type().is_fifo());
        // Nobody has it open, so its writer finds no reader.
        let write = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        let written = rustix::fs::open(scratch.join("fifo"), write, rustix::fs::Mode::empty());
        assert_eq!(written.unwrap_err(), Errno::NXIO, "it was opened");
    }
    scratch.link("zero", "/dev/zero");
    assert_eq!(read(&scratch, "zero").unwrap_err(), Errno::XDEV);
}

#[test]
fn links_may_lead_anywhere_if_enabled() {
    let scratch = scratch();
    let outside = Scratch::new();
    outside.write("secret", "secret");
    scratch.link("out", outside.join("secret"));
    let mut root = Root::open(scratch.path()).unwrap();
    root.resolve = Resolve::Anywhere;
    let mut text = String::new();
    root.file(Below::parse("out").unwrap()).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "secret");
}

#[test]
fn the_root_is_a_descriptor() {
    let scratch = scratch();
    let roots = both(&scratch);
    let moved = env::temp_dir().join(format!("sockeye-files-moved-{}", process::id()));
    fs::rename(scratch.path(), &moved).unwrap();
    let found = roots.map(|root| root.file(Below::parse("a/b/deep").unwrap()).is_ok());
    fs::rename(&moved, scratch.path()).unwrap();
    assert_eq!(found, [true, true]);
}

#[test]
fn only_a_directory_can_be_the_root() {
    let scratch = scratch();
    assert!(Root::open(&scratch.join("top")).is_err());
    assert!(Root::open(&scratch.join("none")).is_err());
    scratch.link("link", "a");
    assert!(Root::open(&scratch.join("link")).is_ok());
}
