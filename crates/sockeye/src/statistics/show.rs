//! The text for people.

use std::fmt::{self, Display};

use crate::statistics::{Statistics, Topics, Traffic};

impl Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (connections, websockets) = (&self.connections, &self.websockets);
        // Left out if zero: most services have none.
        let adopted = match connections.adopted {
            0 => String::new(),
            count => format!(", {count} adopted"),
        };
        writeln!(
            f,
            "connections: {} now, {} peak, {} accepted, {} connected{adopted}, {} closed",
            self.connections_now,
            self.connections_most,
            connections.accepted,
            connections.connected,
            connections.closed
        )?;
        writeln!(
            f,
            "websockets: {} now, {} peak, {} opened by peers, {} opened by us, {} closed",
            self.websockets_now,
            self.websockets_most,
            websockets.opened_by_peers,
            websockets.opened_by_us,
            websockets.closed
        )?;
        writeln!(
            f,
            "held for peers: {} bytes now, {} peak, {} at most",
            self.held_bytes, self.held_bytes_most, self.held_bytes_limit
        )?;
        traffic(f, "received", &self.received)?;
        traffic(f, "sent", &self.sent)?;
        counted(f, "closed by cause", self.closes.named())?;
        // Left out if zero: most services have none.
        if self.request_ends.named().any(|(_, count)| count > 0) {
            counted(f, "requests with a session by their end", self.request_ends.named())?;
        }
        if self.raw_closes.named().any(|(_, count)| count > 0) {
            counted(f, "raw connections closed by cause", self.raw_closes.named())?;
        }
        counted(f, "close codes received", self.codes_received.named().map(|(name, count)| (&name[1..], count)))?;
        counted(f, "close codes sent", self.codes_sent.named().map(|(name, count)| (&name[1..], count)))?;
        counted(f, "responses by status", self.responses.iter().map(|(status, count)| (status, *count)))?;
        if self.compression.named().any(|(_, count)| count > 0) {
            counted(f, "compression", self.compression.named())?;
        }
        if self.topics.published > 0 || self.topics_now > 0 {
            write!(f, "topics: {} now, {} subscriptions now, ", self.topics_now, self.subscriptions_now)?;
            let Topics { published, queued, dropped, closed } = self.topics;
            writeln!(f, "{published} published, {queued} queued, {dropped} dropped, {closed} closed")?;
        }
        if self.tls.started > 0 {
            counted(f, "TLS handshakes by outcome", self.tls.named())?;
        }
        counted(f, "refused by reason", self.refusals.named())?;
        counted(f, "connects failed by stage", self.failures.named())?;
        counted(f, "limits hit", self.limits.named())?;
        counted(f, "loop", self.work.named())?;
        let stalls = &self.stalls;
        write!(f, "stalls: {}, {:?} in total, longest turn {:?}", stalls.count, stalls.total, stalls.longest_turn)?;
        match &stalls.worst {
            Some(worst) => writeln!(f, ", worst {worst}"),
            None => writeln!(f),
        }
    }
}

fn traffic(f: &mut fmt::Formatter<'_>, name: &str, traffic: &Traffic) -> fmt::Result {
    let Traffic { bytes, messages, pings, pongs, closes, .. } = traffic;
    let frames = traffic.frames();
    writeln!(
        f,
        "{name}: {bytes} bytes, {messages} messages, {frames} frames, {pings} pings, {pongs} pongs, {closes} closes"
    )
}

/// Lists the counters that are not zero.
fn counted<N: Display>(f: &mut fmt::Formatter<'_>, title: &str, counts: impl Iterator<Item = (N, u64)>) -> fmt::Result {
    write!(f, "{title}:")?;
    let mut first = true;
    for (name, count) in counts.filter(|(_, count)| *count > 0) {
        write!(f, "{} {name} {count}", if first { "" } else { "," })?;
        first = false;
    }
    writeln!(f, "{}", if first { " none" } else { "" })
}
