//! Benchmarks of Sockeye: counts that repeat, and ratios measured within one run.
