//! Why a connect failed, in few words.

use sockeye::client::{FailureCause, ProxyFailure, Refusal};

pub fn cause(cause: &FailureCause) -> String {
    match cause {
        FailureCause::Resolve { host, error } => format!("resolve {host} {:?}", error.kind()),
        FailureCause::Connect { address, error, tried } => format!("connect {address} {:?} {tried}", error.kind()),
        FailureCause::Proxy(ProxyFailure::Refused(refusal)) => format!("proxy {}", refused(refusal)),
        FailureCause::Proxy(failure) => format!("proxy {failure:?}"),
        FailureCause::Refused(refusal) => refused(refusal),
        FailureCause::Rule(rule) => format!("rule {rule:?}"),
        FailureCause::Ended => "ended".to_owned(),
        FailureCause::Io(error) => format!("io {:?}", error.kind()),
        FailureCause::Timeout { after } => format!("timeout {after:?}"),
        FailureCause::Cancelled => "cancelled".to_owned(),
        FailureCause::NoRoom { limit } => format!("no room {limit}"),
        FailureCause::Redirect(error) => format!("redirect {error:?}"),
        FailureCause::Unsupported(_) => "unsupported".to_owned(),
        FailureCause::Dropped => "dropped".to_owned(),
        other => format!("{other:?}"),
    }
}

fn refused(refusal: &Refusal) -> String {
    let cut = if refusal.is_truncated() { " cut" } else { "" };
    format!("refused {} {}{cut}", refusal.status(), String::from_utf8_lossy(refusal.body()))
}
