//! The layouts and numbers of this crate against the headers that programs are compiled with.

use std::path::Path;
use std::process::Command;

/// `libwebsockets-dev` of Debian 12 has the header of 4.1.6.
#[test]
fn the_installed_header_of_4_1_6_has_the_same_layouts() {
    assert!(Path::new("/usr/include/libwebsockets.h").exists(), "this needs Debian's package libwebsockets-dev");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/layout17.c");
    let output = Command::new("cc").args(["-std=gnu11", "-fsyntax-only"]).arg(&source).output();
    let output = output.expect("this needs a C compiler (Debian's package gcc)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
