//! The members of a request that are known, read from JSON. Whatever else is in it takes no memory.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What a member is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Member {
    /// Not there, or null.
    #[default]
    Absent,
    Flag(bool),
    Number(u64),
    Text(String),
    /// Of a type that no member has.
    Other,
}

impl Member {
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// A request, by its members.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Members {
    pub(super) kind: Member,
    pub(super) id: Member,
    pub(super) topic: Member,
    pub(super) data: Member,
    pub(super) key: Member,
    pub(super) token: Member,
    pub(super) last: Member,
    pub(super) presence: Member,
    pub(super) since: Since,
}

/// The member `since`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Since {
    #[default]
    Absent,
    Position {
        epoch: Member,
        offset: Member,
    },
    Other,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member")
    }

    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member::Absent)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Member, E> {
        Ok(Member::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Member, E> {
        Ok(Member::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Member, E> {
        Ok(Member::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Member, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Member, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Place)
    }
}

struct Place;

impl<'de> Visitor<'de> for Place {
    type Value = Since;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position")
    }

    fn visit_unit<E>(self) -> Result<Since, E> {
        Ok(Since::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Since, E> {
        Ok(Since::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Since, E> {
        Ok(Since::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Since, E> {
        Ok(Since::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Since, E> {
        Ok(Since::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Since, E> {
        Ok(Since::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Since, A::Error> {
        Any.visit_seq(items).map(|_| Since::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Since, A::Error> {
        let (mut epoch, mut offset) = (Member::Absent, Member::Absent);
        while let Some(name) = members.next_key::<Name>()? {
            match name {
                Name::Epoch => epoch = members.next_value()?,
                Name::Offset => offset = members.next_value()?,
                _ => _ = members.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Since::Position { epoch, offset })
    }
}

/// The name of a member.
enum Name {
    Type,
    Id,
    Topic,
    Data,
    Key,
    Token,
    Last,
    Presence,
    Since,
    Epoch,
    Offset,
    Unknown,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Names;

        impl Visitor<'_> for Names {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "type" => Name::Type,
                    "id" => Name::Id,
                    "topic" => Name::Topic,
                    "data" => Name::Data,
                    "key" => Name::Key,
                    "token" => Name::Token,
                    "last" => Name::Last,
                    "presence" => Name::Presence,
                    "since" => Name::Since,
                    "epoch" => Name::Epoch,
                    "offset" => Name::Offset,
                    _ => Name::Unknown,
                })
            }
        }

        json.deserialize_str(Names)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut json: A) -> Result<Members, A::Error> {
                let mut members = Members::default();
                while let Some(name) = json.next_key::<Name>()? {
                    let member = match name {
                        Name::Type => &mut members.kind,
                        Name::Id => &mut members.id,
                        Name::Topic => &mut members.topic,
                        Name::Data => &mut members.data,
                        Name::Key => &mut members.key,
                        Name::Token => &mut members.token,
                        Name::Last => &mut members.last,
                        Name::Presence => &mut members.presence,
                        Name::Since => {
                            members.since = json.next_value()?;
                            continue;
                        }
                        Name::Epoch | Name::Offset | Name::Unknown => {
                            _ = json.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *member = json.next_value()?;
                }
                Ok(members)
            }
        }

        json.deserialize_map(All)
    }
}
