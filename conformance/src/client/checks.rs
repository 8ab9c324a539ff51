//! Counting what was demanded.

use std::fmt::Debug;

/// How many checks there were.
#[derive(Default)]
pub(crate) struct Checks {
    passed: u32,
    failed: u32,
}

impl Checks {
    /// One check: `body` says what is wrong.
    pub(crate) fn check(&mut self, name: &str, body: impl FnOnce() -> Result<(), String>) {
        match body() {
            Ok(()) => {
                self.passed += 1;
                println!("ok {name}");
            }
            Err(why) => {
                self.failed += 1;
                println!("not ok {name}: {}", why.replace('\n', " "));
            }
        }
    }

    /// It is a success only when something was checked and nothing failed.
    pub(crate) fn finish(&self) -> Result<(), String> {
        println!("# {} passed, {} failed, {} connections", self.passed, self.failed, crate::link::begun());
        match self {
            Self { failed: 0, passed: 1.. } => Ok(()),
            Self { failed: 0, .. } => Err("nothing was checked".to_owned()),
            Self { failed, .. } => Err(format!("{failed} checks failed")),
        }
    }
}

pub(crate) fn equal<T: Debug + PartialEq>(actual: T, expected: T) -> Result<(), String> {
    if actual == expected { Ok(()) } else { Err(format!("{actual:?}, not {expected:?}")) }
}

pub(crate) fn ensure(condition: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(why()) }
}
