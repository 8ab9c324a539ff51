//! What happens to one service in situations that are made, not met by chance: the simulated network without faults, unless
//! the test is about one.

#[path = "../simulator/client.rs"]
#[expect(dead_code, reason = "the random test uses the rest")]
mod client;
#[path = "../simulator/echo.rs"]
mod echo;
#[path = "../simulator/hub.rs"]
#[expect(dead_code, reason = "the random test uses the rest")]
mod hub;
#[path = "../simulator/machine.rs"]
mod machine;
#[path = "../simulator/rng.rs"]
#[expect(dead_code, reason = "the random test uses the rest")]
mod rng;

mod asking;
mod bench;
mod counted;
mod crowds;
mod ends;
mod errors;
mod http;
mod ids;
mod pressure;
mod proxied;
mod stalls;
mod times;
mod turns;
