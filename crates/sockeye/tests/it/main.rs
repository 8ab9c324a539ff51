//! The integration tests that share a process. One module for each subject; `cargo test -p sockeye --test it SUBJECT` runs it.
//!
//! * `server`: what happens to a service that is connected to;
//! * `client`: connections of our own, stage by stage;
//! * `raw`: raw connections, adopted and watched descriptors;
//! * `threads`: services in several threads;
//! * `external_loop`: services inside loops of the test's own;
//! * `short_reads`: reads that end before all was read.
//!
//! Random services on random networks, thousands of seeds, are in `tests/simulator`, which has a profile of its own. What counts descriptors or memory of the whole process, forks, or runs itself again is in `tests/process`; what must not
//! compile, in `tests/compile_fail`. What several of them use is in the crate `sockeye-testing`.

mod client;
mod external_loop;
mod raw;
mod server;
mod short_reads;
mod threads;
