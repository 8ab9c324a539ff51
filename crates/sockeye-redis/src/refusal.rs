//! What errors of Redis mean for a connection.

use sockeye_hub::backplane::BrokerError;

use crate::text;

/// An answer to one of the commands that a connection begins with.
pub(crate) fn of_connection(error: &[u8], password: &[u8]) -> BrokerError {
    BrokerError::Refused(match text::code(error) {
        // It repeats the arguments, and so the password.
        _ if is_unknown(error) => {
            "it does not know HELLO, so it is older than Redis 6, and this needs version 6 or later".to_owned()
        }
        b"NOPROTO" => "it does not speak RESP3, which Redis does from version 6 on".to_owned(),
        b"NOAUTH" => "it asks for a password; write redis://user:password@host, or redis://:password@host".to_owned(),
        b"NOPERM" => format!("{}; the README of sockeye-redis lists the rights that a user needs", text::shown(error)),
        b"LOADING" => "it is reading its data from disk".to_owned(),
        code if holds(error, password) => text::shown(code),
        _ => text::shown(error),
    })
}

/// An answer to a message or a subscription after which the connection is of no use: another server has to be asked, or this one later.
pub(crate) fn of_use(error: &[u8]) -> Option<BrokerError> {
    let why = match text::code(error) {
        b"READONLY" => "it has become a replica, which takes no messages",
        b"MOVED" | b"ASK" | b"CROSSSLOT" | b"CLUSTERDOWN" => CLUSTER,
        b"LOADING" => "it is reading its data from disk",
        b"MASTERDOWN" => "it is a replica that has lost its primary",
        b"NOAUTH" => "the user or its password has changed",
        _ => return None,
    };
    Some(BrokerError::Refused(why.to_owned()))
}

/// Why a server is not taken that does not say which start of it this is.
pub(crate) fn of_run() -> BrokerError {
    BrokerError::Refused(
        "its INFO has no run_id, without which it cannot be told whether it has lost messages".to_owned(),
    )
}

/// Why a server is not taken that has said what it is.
pub(crate) fn of_role(mode: Option<&[u8]>, role: Option<&[u8]>, keeps_history: bool) -> Option<BrokerError> {
    let why = match (mode, role) {
        (Some(b"sentinel"), _) => "it is a sentinel; name the server that it watches",
        (Some(b"cluster"), _) if keeps_history => CLUSTER,
        (_, Some(b"replica" | b"slave")) => {
            "it is a replica, and what is published there stays there; name the primary"
        }
        _ => return None,
    };
    Some(BrokerError::Refused(why.to_owned()))
}

fn is_unknown(error: &[u8]) -> bool {
    error.to_ascii_lowercase().starts_with(b"err unknown command")
}

fn holds(error: &[u8], password: &[u8]) -> bool {
    !password.is_empty() && error.windows(password.len()).any(|window| window == password)
}

const CLUSTER: &str =
    "it is part of a cluster, and history needs one server that has all topics; name a server that is in no cluster";
