//! Misuse that does not compile, each with what the compiler says about it.
//!
//! After a change: `TRYBUILD=overwrite cargo test -p sockeye-compile-fail`, and read the difference. The texts are those
//! of one compiler version, so the test runs with that one only.

mod right;
mod threads;

/// Only checked, not built: that all of them fail is what makes this quick.
#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("wrong/*.rs");
}
