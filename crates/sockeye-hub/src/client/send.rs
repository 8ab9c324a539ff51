//! Requests: what the program wants, as messages.

use std::borrow::Cow;

use sockeye::messages::Message;

use crate::client::{Asked, Bookmark, Client, END_OF_NUMBERS, RequestError, Subscribe, Topic};

impl Client {
    /// Subscribes to a topic, now and on each connection that follows. Returns what has to be sent; without a connection
    /// that is nothing, and [`opened`](Self::opened) has it.
    ///
    /// # Errors
    /// The name cannot be one, or is subscribed to.
    pub fn subscribe(&mut self, topic: &str, wanted: Subscribe) -> Result<Option<String>, RequestError> {
        check_name(topic)?;
        if self.topics.contains_key(topic) {
            return Err(RequestError::AlreadySubscribed);
        }
        let seen = wanted.since.clone();
        self.topics.insert(topic.to_owned(), Topic { wanted, seen, asked: None, is_live: false, is_due: false });
        Ok(self.send_subscribe(topic))
    }

    /// Ends a subscription. Nothing of the topic is reported any more. Returns what has to be sent.
    pub fn unsubscribe(&mut self, topic: &str) -> Option<String> {
        let ended = self.topics.remove(topic)?;
        if let Some(id) = ended.asked {
            self.requests.remove(&id);
        }
        if !self.is_open {
            return None;
        }
        let mut request = Object::new("unsubscribe", self.take_id());
        request.text("topic", topic);
        Some(request.end())
    }

    /// Publishes a message. Returns its id, and what has to be sent. One of [`HubEvent::Published`](crate::client::HubEvent::Published),
    /// [`Unknown`](crate::client::HubEvent::Unknown) and [`Refused`](crate::client::HubEvent::Refused) follows.
    ///
    /// # Errors
    /// There is no connection, too many publishes wait for their answers, or the name or the key cannot be sent.
    pub fn publish<'p>(
        &mut self,
        topic: &str,
        payload: impl Into<Message<'p>>,
        key: Option<&[u8]>,
    ) -> Result<(u64, Message<'static>), RequestError> {
        check_name(topic)?;
        let key = key.unwrap_or_default();
        let key_bytes = u16::try_from(key.len()).map_err(|_| RequestError::Key)?;
        if !self.is_open {
            return Err(RequestError::Closed);
        }
        if self.publishes >= self.most_publishes {
            return Err(RequestError::TooManyPublishes);
        }
        let message = match payload.into() {
            Message::Text(text) => {
                let key = std::str::from_utf8(key).map_err(|_| RequestError::Key)?;
                let mut request = Object::new("publish", self.next);
                request.text("topic", topic);
                if !key.is_empty() {
                    request.text("key", key);
                }
                request.text("data", &text);
                Message::from(request.end())
            }
            Message::Binary(payload) => {
                Message::Binary(Cow::Owned(binary(self.next, topic, (key, key_bytes), &payload)))
            }
        };
        let id = self.take_id();
        self.publishes += 1;
        self.requests.insert(id, Asked::Publish(id));
        Ok((id, message))
    }

    /// Shows a token, now and on each connection that follows. Returns what has to be sent, if there is a connection.
    pub fn authorize(&mut self, token: &str) -> Option<String> {
        self.token = Some(token.to_owned());
        self.send_token()
    }

    pub(super) fn send_token(&mut self) -> Option<String> {
        if !self.is_open {
            return None;
        }
        let token = self.token.clone()?;
        let id = self.take_id();
        if let Some(before) = self.authorizing.replace(id) {
            self.requests.remove(&before);
        }
        self.requests.insert(id, Asked::Authorize);
        let mut request = Object::new("authorize", id);
        request.text("token", &token);
        Some(request.end())
    }

    /// Asks for a topic that is not asked for yet.
    pub(super) fn send_subscribe(&mut self, name: &str) -> Option<String> {
        if !self.is_open {
            return None;
        }
        let id = self.take_id();
        let topic = self.topics.get_mut(name)?;
        topic.asked = Some(id);
        topic.is_due = false;
        self.requests.insert(id, Asked::Subscribe(name.to_owned()));
        let mut request = Object::new("subscribe", id);
        request.text("topic", name);
        if let Some(seen) = &topic.seen {
            request.since(seen);
        }
        if let Some(last) = topic.wanted.last {
            request.number("last", last.into());
        }
        if topic.wanted.presence {
            request.raw("presence", "true");
        }
        Some(request.end())
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next;
        self.next = (id + 1) % END_OF_NUMBERS;
        id
    }
}

fn check_name(topic: &str) -> Result<u16, RequestError> {
    u16::try_from(topic.len()).ok().filter(|bytes| *bytes > 0).ok_or(RequestError::Name)
}

/// A publish of bytes. The lengths were checked.
fn binary(id: u64, topic: &str, (key, key_bytes): (&[u8], u16), payload: &[u8]) -> Vec<u8> {
    let topic_bytes = check_name(topic).unwrap_or_default();
    let head = [&[1][..], &topic_bytes.to_be_bytes(), &key_bytes.to_be_bytes(), &id.to_be_bytes()].concat();
    [&head, topic.as_bytes(), key, payload].concat()
}

/// An object of JSON that is being written. The names of members need no escape.
struct Object(String);

impl Object {
    fn new(kind: &str, id: u64) -> Self {
        Self(format!(r#"{{"type":"{kind}","id":{id}"#))
    }

    fn raw(&mut self, name: &str, json: &str) {
        self.0.extend([",\"", name, "\":", json]);
    }

    fn number(&mut self, name: &str, number: u64) {
        self.raw(name, &number.to_string());
    }

    fn text(&mut self, name: &str, text: &str) {
        self.0.extend([",\"", name, "\":"]);
        quote(&mut self.0, text);
    }

    fn since(&mut self, seen: &Bookmark) {
        self.0.push_str(",\"since\":{\"epoch\":");
        quote(&mut self.0, seen.epoch());
        self.0.push_str(&format!(",\"offset\":{}}}", seen.offset()));
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A string of JSON, as RFC 8259 section 7 wants it: quotation mark, backslash and control characters "MUST be escaped".
fn quote(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
