//! Misuse that does not compile, each with what the compiler says about it.
//!
//! After a change: `TRYBUILD=overwrite cargo test -p sockeye --test compile_fail`, and read the difference. The texts are those
//! of one compiler version, so the test runs with that one only.

#[test]
fn misuse_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile_fail/use.rs");
    cases.compile_fail("tests/compile_fail/wrong/*.rs");
}
