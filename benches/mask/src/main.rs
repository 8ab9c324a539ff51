//! How fast payloads are masked: prints `bytes nanoseconds GB/s` for some sizes, after a check of each against the definition.
//!
//! `cargo xtask bench masks` builds it for several kinds of processors.

#![forbid(unsafe_code)]

use std::{hint, time::Instant};

use sockeye_proto::wire::mask;

fn main() {
    for size in SIZES {
        let payload: Vec<u8> = (0..size).map(|at| (at * 7 + 3) as u8).collect();
        let mut masked = payload.clone();
        mask::apply(&mut masked, KEY, 1);
        // RFC 6455 section 5.3.
        let defined = payload.iter().enumerate().map(|(at, byte)| byte ^ KEY[(at + 1) % 4]);
        assert!(masked.iter().copied().eq(defined), "{size} bytes are masked wrongly");

        let count = BYTES / size.max(64);
        let rounds = (0..ROUNDS).map(|_| {
            let begin = Instant::now();
            for _ in 0..count {
                mask::apply(hint::black_box(&mut masked), hint::black_box(KEY), 0);
            }
            begin.elapsed().as_secs_f64() / count as f64
        });
        let seconds = rounds.fold(f64::INFINITY, f64::min);
        println!("{size} {:.2} {:.1}", seconds * 1e9, size as f64 / seconds / 1e9);
    }
}

const SIZES: [usize; 6] = [20, 128, 200, 1024, 16 * 1024, 64 * 1024];
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The fastest of so many rounds counts, each of so many bytes.
const ROUNDS: u32 = 7;
const BYTES: usize = 1 << 28;
