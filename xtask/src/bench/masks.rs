//! Masking on several kinds of processors. The compiler chooses its instructions by the kind, and its choice for one may be slow
//! where that for another is fast.

use std::{env, fs, process::Command, time::Duration};

use crate::{
    gate::{Checks, Failure},
    output::say,
    process,
    workspace::Workspace,
};

/// Builds the benchmark for each kind. With `run`, runs it where this processor has the registers, and holds the rate to the goal.
pub(crate) fn run(workspace: &Workspace, run: bool) -> Result<Checks, Failure> {
    let mut checks = Checks::default();
    let cpu = fs::read_to_string("/proc/cpuinfo").map_err(|error| format!("/proc/cpuinfo: {error}"))?;
    let has = |flag| cpu.split_whitespace().any(|word| word == flag);
    let (wide, widest) = (has("avx2"), has("avx512bw") && has("avx512vl"));
    let kinds = [("native", true), ("x86-64", true), ("x86-64-v3", wide), ("x86-64-v4", widest)];
    // Other processors have no such kinds.
    let count = if env::consts::ARCH == "x86_64" { kinds.len() } else { 1 };
    for (kind, runs) in kinds.into_iter().take(count) {
        let folder = workspace.target().join("mask").join(kind);
        let mut build = workspace.cargo(["build", "--release", "--package", "sockeye-bench-mask", "--target-dir"]);
        build.arg(&folder).env("RUSTFLAGS", format!("-Ctarget-cpu={kind}")).env_remove("CARGO_ENCODED_RUSTFLAGS");
        if !run {
            // Optimised for the kind all the same, in less time.
            build.envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_DEBUG", "0")]);
        }
        say!("for {kind}:");
        process::run(&mut build, LIMIT)?.success(&process::shown(&build))?;
        checks.passed += 1;
        if !run {
            continue;
        }
        if !runs {
            say!("built only: this processor has no such registers");
            continue;
        }
        let output = process::run(&mut Command::new(folder.join("release/sockeye-bench-mask")), LIMIT)?;
        let rate = rate(&output.success("sockeye-bench-mask")?.lines).ok_or("the benchmark told no rate")?;
        let met = !wide || rate >= GOAL;
        say!("{kind}: {rate} GB/s at {SIZE} bytes, goal {GOAL}: {}", if met { "met" } else { "MISSED" });
        checks += if met { Checks::passed(1) } else { Checks { passed: 0, failed: 1 } };
    }
    if checks.failed > 0 { Err(Failure::new("masking is too slow", checks)) } else { Ok(checks) }
}

/// GB/s at [`SIZE`], from lines of `bytes nanoseconds GB/s`.
fn rate(lines: &[String]) -> Option<f64> {
    let line = lines.iter().find_map(|line| line.strip_prefix(SIZE)?.strip_prefix(' '))?;
    line.split(' ').nth(1)?.parse().ok()
}

const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Bytes.
const SIZE: &str = "1024";

/// GB/s, where there are registers of 256 bits.
const GOAL: f64 = 25.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read() {
        let lines = ["20 10.38 1.9", "1024 30.81 33.2", "16384 421.40 38.9"].map(str::to_owned);
        assert_eq!(rate(&lines), Some(33.2));
        assert_eq!(rate(&lines[..1]), None);
    }
}
