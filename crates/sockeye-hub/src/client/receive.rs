//! What the server sends. It is not trusted: nothing in it makes this side panic, and none of it is kept but an epoch and an offset a topic.

use std::borrow::Cow;

use serde_json::{Map, Value};
use sockeye::messages::Message;

use crate::client::{Asked, Bookmark, Client, END_OF_NUMBERS, ErrorCode, HubEvent, HubEvents, Malformed, Topic};

impl Client {
    pub(super) fn receive_text<'m>(&mut self, text: &str) -> Result<HubEvents<'m>, Malformed> {
        let Ok(Value::Object(mut members)) = serde_json::from_str(text) else {
            return Err(Malformed("a message is not a JSON object"));
        };
        let members = &mut members;
        match &*take_text(members, "type")? {
            "message" => {
                let (topic, payload) = (take_text(members, "topic")?, take_text(members, "data")?);
                let key = take_optional_text(members, "key")?.map(|key| Cow::Owned(key.into_bytes()));
                let place = (take_number(members, "offset")?, take_number(members, "previous")?);
                self.message(topic.into(), place, key, payload.into())
            }
            "subscribed" => self.subscribed(members),
            "gap" => self.gap(members),
            "published" => self.published(members),
            "unknown" => self.unknown(members),
            "error" => self.refused(members),
            "unsubscribed" => self.unsubscribed(members),
            "presence" => self.presence(members),
            "authorized" => self.authorized(members),
            _ => Ok(HubEvents::default()),
        }
    }

    pub(super) fn receive_binary<'m>(&mut self, bytes: &'m [u8]) -> Result<HubEvents<'m>, Malformed> {
        if bytes.first() != Some(&BINARY_MESSAGE) {
            return Ok(HubEvents::default());
        }
        let mut rest = bytes.get(1..).unwrap_or_default();
        let (topic_bytes, key_bytes) = (take_length(&mut rest)?, take_length(&mut rest)?);
        let place = (take_offset(&mut rest)?, take_offset(&mut rest)?);
        let topic = take_bytes(&mut rest, topic_bytes)?;
        let topic = std::str::from_utf8(topic).map_err(|_| Malformed("the name of a topic is not UTF-8"))?;
        let key = take_bytes(&mut rest, key_bytes)?;
        let key = if key.is_empty() { None } else { Some(key.into()) };
        self.message(topic.into(), place, key, rest.into())
    }

    fn message<'m>(
        &mut self,
        topic: Cow<'m, str>,
        (offset, previous): (u64, u64),
        key: Option<Cow<'m, [u8]>>,
        payload: Message<'m>,
    ) -> Result<HubEvents<'m>, Malformed> {
        if previous >= offset {
            return Err(Malformed("a message is not behind the one before it"));
        }
        // One that was on its way when its topic was unsubscribed from.
        let Some(seen) = self.live(&topic).and_then(|topic| topic.seen.as_mut()) else {
            return Ok(HubEvents::default());
        };
        if offset <= seen.offset() {
            return Ok(HubEvents::default());
        }
        let (after, until) = (seen.clone(), seen.at(previous));
        seen.move_to(offset);
        // What is smaller is a message of before: a broker may have told this client more than its server knew.
        let gap = (until.offset() > after.offset()).then(|| HubEvent::Gap { topic: topic.clone(), after, until });
        let message = HubEvent::Message { topic, offset, key, payload };
        Ok(match gap {
            Some(gap) => HubEvents { first: Some(gap), second: Some(message) },
            None => message.into(),
        })
    }

    fn subscribed<'m>(&mut self, members: &mut Members) -> Result<HubEvents<'m>, Malformed> {
        let (id, name, at) = (take_number(members, "id")?, take_text(members, "topic")?, take_bookmark(members)?);
        let is_recovered = members.get("recovered") == Some(&Value::Bool(true));
        if self.topics.get(&name).is_none_or(|topic| topic.asked != Some(id)) {
            return Ok(HubEvents::default());
        }
        self.requests.remove(&id);
        let Some(topic) = self.topics.get_mut(&name) else { return Ok(HubEvents::default()) };
        (topic.asked, topic.is_live) = (None, true);
        let name: Cow<'m, str> = name.into();
        let Some(seen) = &mut topic.seen else {
            topic.seen = Some(at.clone());
            return Ok(HubEvent::Subscribed { topic: name, at, recovered: None }.into());
        };
        // Who says so and begins behind what was seen contradicts itself.
        let is_recovered = is_recovered && at.is_of_epoch_of(seen) && at.offset() <= seen.offset();
        let after = seen.clone();
        continue_at(seen, &at);
        let subscribed = HubEvent::Subscribed { topic: name.clone(), at: at.clone(), recovered: Some(is_recovered) };
        let gap = (!is_recovered).then_some(HubEvent::Gap { topic: name, after, until: at });
        Ok(HubEvents { first: Some(subscribed), second: gap })
    }

    fn gap<'m>(&mut self, members: &mut Members) -> Result<HubEvents<'m>, Malformed> {
        let (name, until) = (take_text(members, "topic")?, take_bookmark(members)?);
        let Some(seen) = self.live(&name).and_then(|topic| topic.seen.as_mut()) else {
            return Ok(HubEvents::default());
        };
        let after = seen.clone();
        continue_at(seen, &until);
        Ok(HubEvent::Gap { topic: name.into(), after, until }.into())
    }

    fn published<'m>(&mut self, members: &mut Members) -> Result<HubEvents<'m>, Malformed> {
        let id = take_number(members, "id")?;
        let is_placed = members.contains_key("epoch") && members.contains_key("offset");
        let at = if is_placed { Some(take_bookmark(members)?) } else { None };
        Ok(self.end_publish(id).then_some(HubEvent::Published { id, at }).map(HubEvents::from).unwrap_or_default())
    }

    fn unknown<'m>(&mut self, members: &mut Members) -> Result<HubEvents<'m>, Malformed> {
        let id = take_number(members, "id")?;
        let reason = take_optional_text(members, "reason")?.unwrap_or_default().into();
        Ok(self.end_publish(id).then_some(HubEvent::Unknown { id, reason }).map(HubEvents::from).unwrap_or_default())
    }

    /// Whether the id is that of a publish that waits.
    fn end_publish(&mut self, id: u64) -> bool {
        let is_publish = matches!(self.requests.get(&id), Some(Asked::Publish(_)));
        if is_publish {
            self.requests.remove(&id);
            self.publishes -= 1;
        }
        is_publish
    }

    fn refused<'m>(&mut self, members: &mut Members) -> Result<HubEvents<'m>, Malformed> {
        let id = if members.contains_key("id") { Some(take_number(members, "id")?) } else { None };
        let code = ErrorCode::parse(take_text(members, "code")?);
        let reason = take_optional_text(members, "reason")?.unwrap_or_default().into();
        let asked = id.and_then(|id| self.requests.remove(&id));
        match &asked {
            Some(Asked::Publish(_)) => self.publishes -= 1,
            Some(Asked::Authorize) => {
                self.authorizing = None;
                // A token that was refused is not shown again.
                if !code.is_temporary() {
                    self.token = None;
                }
            }
            Some(Asked::Subscribe(name)) if !code.is_temporary() => _ = self.topics.remove(name),
            Some(Asked::Subscribe(name)) => {
                if let Some(topic) = self.topics.get_mut(name) {
                    (topic.asked, topic.is_due) = (None, true);
                }
            }
            None => {}
        }
        Ok(HubEvent::Refused { asked, code, reason }.into())
    }

    fn unsubscribed<'m>(&mut self, members: &mut Members) -> Result<HubEvents<'m>, Malformed> {
        let name = take_text(members, "topic")?;
        // The answer to a request, which had its effect at once; or one that crossed a new subscription on its way.
        if members.contains_key("id") || self.live(&name).is_none() {
            return Ok(HubEvents::default());
        }
        let reason = take_optional_text(members, "reason")?.unwrap_or_default().into();
        let at = self.topics.remove(&name).and_then(|topic| topic.seen);
        Ok(HubEvent::Unsubscribed { topic: name.into(), at, reason }.into())
    }

    fn presence<'m>(&self, members: &mut Members) -> Result<HubEvents<'m>, Malformed> {
        let name = take_text(members, "topic")?;
        let count = take_number(members, "count")?;
        let (joined, left) = (take_number(members, "joined")?, take_number(members, "left")?);
        let is_wanted = self.topics.get(&name).is_some_and(|topic| topic.wanted.presence);
        let event = HubEvent::Presence { topic: name.into(), count, joined, left };
        Ok(is_wanted.then_some(event).map(HubEvents::from).unwrap_or_default())
    }

    fn authorized<'m>(&mut self, members: &Members) -> Result<HubEvents<'m>, Malformed> {
        let id = take_number(members, "id")?;
        if self.authorizing != Some(id) {
            return Ok(HubEvents::default());
        }
        self.authorizing = None;
        self.requests.remove(&id);
        Ok(HubEvent::Authorized.into())
    }

    /// A topic whose subscription the server has confirmed on this connection.
    fn live(&mut self, topic: &str) -> Option<&mut Topic> {
        self.topics.get_mut(topic).filter(|topic| topic.is_live)
    }
}

/// Goes on where the server says; but not back, since what is there was seen.
fn continue_at(seen: &mut Bookmark, at: &Bookmark) {
    if at.is_of_epoch_of(seen) {
        seen.move_to(at.offset());
    } else {
        *seen = at.clone();
    }
}

type Members = Map<String, Value>;

fn take_text(members: &mut Members, name: &str) -> Result<String, Malformed> {
    take_optional_text(members, name)?.ok_or(Malformed("a message lacks a member that is a string"))
}

fn take_optional_text(members: &mut Members, name: &str) -> Result<Option<String>, Malformed> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Malformed("a member is not a string")),
    }
}

fn take_number(members: &Members, name: &str) -> Result<u64, Malformed> {
    let number = members.get(name).and_then(Value::as_u64).filter(|number| *number < END_OF_NUMBERS);
    number.ok_or(Malformed("a member is not a whole number below 2^53"))
}

fn take_bookmark(members: &mut Members) -> Result<Bookmark, Malformed> {
    let (epoch, offset) = (take_text(members, "epoch")?, take_number(members, "offset")?);
    Bookmark::new(epoch, offset).map_err(|_| Malformed("an epoch has 1 to 256 bytes"))
}

fn take_bytes<'m>(rest: &mut &'m [u8], count: usize) -> Result<&'m [u8], Malformed> {
    let (taken, behind) = rest.split_at_checked(count).ok_or(Malformed("a binary message is too short"))?;
    *rest = behind;
    Ok(taken)
}

fn take_length(rest: &mut &[u8]) -> Result<usize, Malformed> {
    Ok(take_bytes(rest, 2)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn take_offset(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let number = take_bytes(rest, 8)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    if number < END_OF_NUMBERS { Ok(number) } else { Err(Malformed("an offset is 2^53 or more")) }
}

/// The first byte of a message in binary.
const BINARY_MESSAGE: u8 = 2;
