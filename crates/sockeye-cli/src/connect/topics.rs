//! Topics of a hub: what `--topic` subscribes to. It is between the console, which has the messages of the server, and the
//! dialog, which shows those of topics as any others.

use std::borrow::Cow;

use sockeye::messages::Message;
use sockeye_hub::SUBPROTOCOL;
use sockeye_hub::client::{Asked, Client, HubEvent, Subscribe};

use crate::connect::args::{Connect, TopicArgs};
use crate::connect::dialog::Dialog;
use crate::connect::event::{self, Origin};
use crate::failure::{Failure, PROTOCOL, REFUSED};

/// The topics of one hub, over all connections to it.
pub(crate) struct Feed {
    client: Client,
    /// There are several topics, so each message is shown with the name of its own.
    is_several: bool,
    /// There was a connection: those that follow are made again and again.
    was_open: bool,
}

impl Feed {
    /// What the command line asks for, if it does.
    ///
    /// # Errors
    /// A name that cannot be one, or options that do not fit.
    pub(crate) fn new(connect: &Connect) -> Result<Option<Self>, Failure> {
        let TopicArgs { topics, since, last, presence, token } = &connect.topics;
        let usage = |text: String| Err(Failure::usage(text));
        if topics.is_empty() {
            return match token.given() {
                Some(option) => usage(format!("{option}: it is for the hub of --topic")),
                None => Ok(None),
            };
        }
        if since.is_some() && topics.len() > 1 {
            return usage("--since: it is a place in one topic, and there are several".to_owned());
        }
        let mut client = Client::new();
        if let Some(token) = token.read()? {
            // Without a connection it is only kept.
            _ = client.authorize(&token);
        }
        for topic in topics {
            let wanted = Subscribe { since: since.clone(), last: *last, presence: *presence };
            client.subscribe(topic, wanted).map_err(|error| Failure::usage(format!("--topic {topic}: {error}")))?;
        }
        Ok(Some(Self { client, is_several: topics.len() > 1, was_open: false }))
    }

    /// Whether a connection that could not be opened is worth another attempt without --reconnect.
    pub(crate) fn was_open(&self) -> bool {
        self.was_open
    }

    /// A connection is open.
    pub(crate) fn opened(&mut self, dialog: &mut Dialog, subprotocol: Option<&str>) {
        if subprotocol != Some(SUBPROTOCOL) {
            let Failure { code, message } = Failure::no_hub();
            return dialog.fail("handshake", code, message);
        }
        self.was_open = true;
        self.client.opened().into_iter().for_each(|request| dialog.ask(request));
    }

    /// A message of the server. True: some topic has to be asked for again after a while.
    pub(crate) fn message(&mut self, dialog: &mut Dialog, message: &Message<'_>) -> bool {
        let events = match self.client.received(message) {
            Ok(events) => events,
            Err(malformed) => {
                dialog.fail("topic", PROTOCOL, malformed.to_string());
                return false;
            }
        };
        let mut again = false;
        for event in events {
            again |= self.told(dialog, event);
        }
        again
    }

    fn told(&self, dialog: &mut Dialog, event: HubEvent<'_>) -> bool {
        match event {
            HubEvent::Message { topic, offset, key, payload } => {
                // What has a message has a place.
                let epoch = self.client.bookmark(&topic).map(|at| at.epoch()).unwrap_or_default();
                let at = format!("{epoch}:{offset}");
                let origin = Origin { topic: &topic, at: &at, key: key.as_deref(), is_named: self.is_several };
                dialog.message_of(&payload, &origin);
            }
            HubEvent::Subscribed { topic, at, recovered } => {
                let at = at.to_string();
                dialog.screen.event(&event::Event::Subscribed { topic: &topic, at: &at, recovered });
                dialog.screen.note(&format!("subscribed to {topic} at {at}{}", how(recovered)));
            }
            HubEvent::Gap { topic, after, until } => {
                let (after, until) = (after.to_string(), until.to_string());
                dialog.screen.event(&event::Event::Gap { topic: &topic, after: &after, until: &until });
                dialog.screen.warn(&format!("{topic}: messages behind {after} up to {until} may be missing"));
            }
            HubEvent::Presence { topic, count, joined, left } => {
                dialog.screen.event(&event::Event::Presence { topic: &topic, count, joined, left });
                dialog.screen.note(&format!("{topic}: {count} subscribers, {joined} came, {left} left"));
            }
            HubEvent::Unsubscribed { topic, reason, .. } => {
                dialog.fail("topic", REFUSED, format!("the hub has ended the subscription to {topic}: {reason}"));
            }
            HubEvent::Refused { asked, code, reason } => {
                let what: Cow<'_, str> = match &asked {
                    Some(Asked::Subscribe(topic)) => format!("{topic}: ").into(),
                    Some(Asked::Authorize) => "the token: ".into(),
                    _ => "".into(),
                };
                let text = format!("the hub refuses: {what}{code}: {reason}");
                if code.is_temporary() {
                    dialog.screen.note(&text);
                    return matches!(asked, Some(Asked::Subscribe(_)));
                }
                dialog.fail("topic", REFUSED, text);
            }
            _ => {}
        }
        false
    }

    /// Asks again for what was refused for now.
    pub(crate) fn retry(&mut self, dialog: &mut Dialog) {
        self.client.retry().into_iter().for_each(|request| dialog.ask(request));
    }

    /// The connection has ended.
    pub(crate) fn closed(&mut self) {
        // Nothing was published, so nothing is unknown.
        _ = self.client.lost().count();
    }

    /// Where each topic is, for another run.
    pub(crate) fn places(&self) -> Vec<String> {
        let place = |topic: &str| self.client.bookmark(topic).map(|at| format!("{topic}: --since {at} continues here"));
        self.client.topics().filter_map(place).collect()
    }
}

fn how(recovered: Option<bool>) -> &'static str {
    match recovered {
        Some(true) => ", nothing is missing",
        Some(false) | None => "",
    }
}
