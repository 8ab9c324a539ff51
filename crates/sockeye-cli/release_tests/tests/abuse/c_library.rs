//! The rows against a C program on the C library, in place of the command: with [`VARIABLE`] set, `SOCKEYE_BIN` is one of
//! `crates/sockeye-capi/tests/abuse`, which take the words of the command.
//!
//! All rows of the handshake, frames, messages and closing run, but those of [`ELSEWHERE`]; what else differs is asked for where it does.

use super::support::Case;
use super::{closing, frames, handshake, messages};

/// The year of its interface, or anything else: the server is a program on the C library.
pub(crate) const VARIABLE: &str = "SOCKEYE_ABUSE_C";

/// Rows that are nothing to a C library, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("handshake::hs13_only_listed_origins_are_accepted", "a C program judges origins itself; hs12 tries that"),
    (
        "handshake::hs14_an_upgrade_is_judged_on_the_same_path_as_a_get",
        "no path of the C interfaces is reserved for upgrades",
    ),
    ("frames::fr07_a_message_over_the_limit_fails_before_its_payload", "messages come in pieces, of any length in all"),
    (
        "frames::fr08_stalled_large_messages_cost_what_was_received",
        "no message is held, so there is no window for it; see ct08",
    ),
    ("messages::fg04_a_message_may_be_exactly_as_large_as_the_limit", "messages come in pieces, of any length in all"),
];

/// Rows that are nothing to the interface of 2013, and why.
const ELSEWHERE_IN_2013: &[(&str, &str)] = &[(
    "closing::ct08_peers_behind_a_dead_network_end_with_the_keepalive",
    "it has no keepalive: programs send their own pings",
)];

/// Whether the server under test is a program on the C library.
pub(crate) fn is_tried() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// The rows for it. What is left out is told.
pub(crate) fn rows() -> Vec<Case> {
    let mut cases = [handshake::rows(), frames::rows(), messages::rows(), closing::rows()].concat();
    let is_of_2013 = std::env::var_os(VARIABLE).is_some_and(|year| year == "2013");
    let more = if is_of_2013 { ELSEWHERE_IN_2013 } else { &[] };
    for (name, reason) in ELSEWHERE.iter().chain(more) {
        let before = cases.len();
        cases.retain(|case| case.name() != *name);
        assert_eq!(cases.len() + 1, before, "there is no row {name}");
        println!("not for a C library: {name}: {reason}");
    }
    cases
}
