//! The stream of a history: its configuration, and what JetStream answers.

use serde_json::{Value, json};
use sockeye_hub::backplane::BrokerError;

use super::load::{Bounds, Given};
use crate::settings::{History, Settings};
use crate::wire::decode::Body;
use crate::wire::headers::{Marks, number};
use crate::wire::info::shown;

/// What the hub wants of the stream.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    source: String,
    destination: String,
    messages: u64,
    age_nanos: u64,
    replicas: u8,
}

/// What there is.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Found {
    /// When it was created.
    pub(crate) epoch: u64,
    /// Its last number.
    pub(crate) last: u64,
    /// The longest message, with headers.
    pub(crate) most_bytes: usize,
    /// On how many servers it is.
    pub(crate) replicas: u64,
    /// Whether a message is dropped only when its topic has too many.
    pub(crate) is_endless: bool,
    /// The server that leads it, if it says so.
    pub(crate) leader: Option<String>,
}

impl Wanted {
    pub(crate) fn new(settings: &Settings, history: &History) -> Self {
        let prefix = &settings.prefix;
        Self {
            name: history.stream_name(prefix),
            source: format!("{prefix}.in.>"),
            destination: format!("{prefix}.out.>"),
            messages: u64::try_from(history.messages()).unwrap_or(u64::MAX),
            age_nanos: history.age_nanos(),
            replicas: history.replica_count(),
        }
    }

    pub(crate) fn configuration(&self) -> Value {
        json!({
            "name": self.name,
            "description": "topics of sockeye",
            "subjects": [self.source],
            "retention": "limits",
            "discard": "old",
            "storage": "file",
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_msg_size": -1,
            "max_msgs_per_subject": self.messages,
            "max_age": self.age_nanos,
            "num_replicas": self.replicas,
            "republish": {"src": self.source, "dest": self.destination},
        })
    }

    /// Judges a stream that is there.
    pub(crate) fn check(&self, answer: &Value) -> Result<Found, BrokerError> {
        let config = &answer["config"];
        let republish = &config["republish"];
        let pairs = [
            ("subjects", &config["subjects"], json!([self.source])),
            ("retention", &config["retention"], json!("limits")),
            ("discard", &config["discard"], json!("old")),
            ("max_msgs_per_subject", &config["max_msgs_per_subject"], json!(self.messages)),
            ("max_age, in nanoseconds,", &config["max_age"], json!(self.age_nanos)),
            ("republish.src", &republish["src"], json!(self.source)),
            ("republish.dest", &republish["dest"], json!(self.destination)),
        ];
        let mut faults: Vec<String> = Vec::new();
        for (name, is, wanted) in pairs {
            if *is != wanted {
                faults.push(format!("{name} is {} and has to be {wanted}", shown(is.to_string().as_bytes())));
            }
        }
        for (name, flag) in [("republish.headers_only", &republish["headers_only"]), ("sealed", &config["sealed"])] {
            if flag.as_bool() == Some(true) {
                faults.push(format!("{name} is true and has to be false"));
            }
        }
        if !faults.is_empty() {
            return Err(BrokerError::Refused(format!(
                "the stream {} does not fit: {}. Change it, or name another by History::stream with another prefix. \
                 (republish needs nats-server 2.8.3 or newer)",
                self.name,
                faults.join("; ")
            )));
        }
        let is_unlimited = |name: &str| config[name].as_i64().is_none_or(|value| value <= 0);
        Ok(Found {
            epoch: epoch(answer)?,
            last: answer["state"]["last_seq"].as_u64().unwrap_or(0),
            most_bytes: config["max_msg_size"]
                .as_u64()
                .filter(|bytes| *bytes > 0)
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(usize::MAX),
            replicas: config["num_replicas"].as_u64().unwrap_or(1).clamp(1, 5),
            is_endless: self.age_nanos == 0 && is_unlimited("max_msgs") && is_unlimited("max_bytes"),
            leader: answer["cluster"]["leader"].as_str().map(str::to_owned),
        })
    }
}

/// When a stream was created, in nanoseconds.
pub(crate) fn epoch(answer: &Value) -> Result<u64, BrokerError> {
    let created = answer["created"].as_str().unwrap_or_default();
    nanos(created).ok_or_else(|| {
        let shown = shown(created.as_bytes());
        BrokerError::Protocol(format!("JetStream gives {shown:?} as the time when a stream was created"))
    })
}

pub(crate) fn bounds(answer: &Value, subject: &str) -> Option<Bounds> {
    let state = &answer["state"];
    let (first, last) = (state["first_seq"].as_u64()?, state["last_seq"].as_u64()?);
    Some(Bounds { count: state["subjects"][subject].as_u64().unwrap_or(0), first, last })
}

/// What JetStream has answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Done(Value),
    /// There is no JetStream, or nothing that takes messages for this subject.
    Nobody,
    Failed(Failure),
}

#[derive(Debug)]
pub(crate) struct Failure {
    code: u64,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn lacks_stream(&self) -> bool {
        self.code == 10_059
    }

    pub(crate) fn lacks_message(&self) -> bool {
        self.code == 10_037
    }

    pub(crate) fn is_other_configuration(&self) -> bool {
        self.code == 10_058
    }
}

impl Answer {
    pub(crate) fn read(headers: &[u8], payload: &[u8]) -> Result<Self, BrokerError> {
        if Marks::read(headers).status == Some(503) {
            return Ok(Self::Nobody);
        }
        let wrong = || BrokerError::Protocol(format!("JetStream answers {:?}", shown(payload)));
        if payload.len() > MAX_ANSWER_BYTES {
            return Err(wrong());
        }
        let answer: Value = serde_json::from_slice(payload).map_err(|_| wrong())?;
        let error = &answer["error"];
        if !error.is_object() {
            return Ok(Self::Done(answer));
        }
        let code = error["err_code"].as_u64().unwrap_or(0);
        let text = error["description"].as_str().unwrap_or("an error without a description");
        Ok(Self::Failed(Failure { code, text: format!("{} (error {code} of JetStream)", shown(text.as_bytes())) }))
    }
}

/// The number of a message that was stored, from an answer of the usual form, `{"stream":"NAME", "seq":NUMBER}`. There is one for each message,
/// and to read it as any JSON costs as much as to publish. What has another form, or more members, is for [`Answer::read`].
pub(crate) fn stored_as(body: &Body<'_>, name: &str) -> Option<u64> {
    let rest = body.payload.strip_prefix(br#"{"stream":""#).filter(|_| body.headers.is_empty())?;
    let rest = rest.strip_prefix(name.as_bytes())?.strip_prefix(b"\",")?;
    let digits = rest.trim_ascii_start().strip_prefix(br#""seq":"#)?.strip_suffix(b"}")?;
    number(digits).filter(|_| digits.first() != Some(&b'0'))
}

/// What a consumer says of a message by the subject of answers to it.
pub(crate) fn delivered(reply: &[u8]) -> Option<Given> {
    let tokens: Vec<&[u8]> = reply.split(|byte| *byte == b'.').take(13).collect();
    // Newer servers put a domain and the hash of an account before the name of the stream.
    let (sequence, count, pending) = match tokens.len() {
        9 => (tokens[5], tokens[6], tokens[8]),
        11.. => (tokens[7], tokens[8], tokens[10]),
        _ => return None,
    };
    if tokens[..2] != [b"$JS", &b"ACK"[..]] {
        return None;
    }
    Some(Given { sequence: number(sequence)?, count: number(count)?, pending: number(pending)? })
}

/// A time such as `2026-11-30T11:50:57.801253789Z` in nanoseconds since 1970.
fn nanos(time: &str) -> Option<u64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let numbers = |text: &str, mark: char, lengths: [usize; 3]| -> Option<[u64; 3]> {
        let mut parts = text.split(mark);
        let mut values = [0; 3];
        for (value, length) in values.iter_mut().zip(lengths) {
            let part =
                parts.next().filter(|part| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()))?;
            *value = part.parse().ok()?;
        }
        parts.next().is_none().then_some(values)
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    // Years that begin in March: the leap day is the last of one.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let seconds = (days.checked_sub(DAYS_TO_1970)? * 24 + hour) * 3600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// From the first of March of year 0.
const DAYS_TO_1970: u64 = 719_468;

/// What JetStream says of a stream is far below this.
pub(crate) const MAX_ANSWER_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::Nats;

    fn wanted() -> Wanted {
        let history = History::new(3);
        let nats = Nats::new("nats://h").unwrap().history(history.clone()).unwrap();
        Wanted::new(nats.settings(), &history)
    }

    fn answer(change: impl Fn(&mut Value)) -> Value {
        let mut answer = json!({"config": wanted().configuration(), "created": "2026-11-30T11:50:57.8Z"});
        change(&mut answer);
        answer
    }

    #[test]
    fn what_is_wanted_fits() {
        let found = wanted().check(&answer(|_| {})).unwrap();
        let expected = Found {
            epoch: 1_796_039_457_800_000_000,
            last: 0,
            most_bytes: usize::MAX,
            replicas: 1,
            is_endless: true,
            leader: None,
        };
        assert_eq!(found, expected);
        let found = wanted().check(&answer(|answer| answer["config"]["max_bytes"] = json!(1000))).unwrap();
        assert!(!found.is_endless);
        let found = wanted().check(&answer(|answer| answer["config"]["max_msg_size"] = json!(1000))).unwrap();
        assert_eq!(found.most_bytes, 1000);
    }

    #[test]
    fn what_differs_is_named() {
        for (name, value) in [
            ("subjects", json!(["a.>"])),
            ("retention", json!("workqueue")),
            ("discard", json!("new")),
            ("max_msgs_per_subject", json!(4)),
            ("max_age", json!(5)),
            ("republish", Value::Null),
            ("sealed", json!(true)),
        ] {
            let error = wanted().check(&answer(|answer| answer["config"][name] = value.clone())).unwrap_err();
            assert!(matches!(&error, BrokerError::Refused(text) if text.contains(name)), "{error}");
        }
    }

    #[test]
    fn times_are_read() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59.5Z", Some(951_868_799_500_000_000)),
            ("2026-11-30T11:51:06.322130948Z", Some(1_796_039_466_322_130_948)),
            ("1969-12-31T23:59:59Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-30T11:51:06", None),
            ("2026-11-30T11:51:06.Z", None),
            ("2026-11-30T11:51:06.0123456789Z", None),
            ("+026-11-30T11:51:06Z", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn confirmations_are_read_as_json_is() {
        let read = |headers: &[u8], payload: &[u8]| stored_as(&Body { headers, payload }, "S_1");
        for text in [
            r#"{"stream":"S_1", "seq":17}"#,
            r#"{"stream":"S_1","seq":18446744073709551615}"#,
            "{\"stream\":\"S_1\",\t\"seq\":1}",
        ] {
            let json: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(b"", text.as_bytes()), json["seq"].as_u64(), "{text}");
            assert_eq!(read(b"NATS/1.0\r\n\r\n", text.as_bytes()), None);
        }
        for text in [
            "",
            "{}",
            r#"{"stream":"S_1", "seq":}"#,
            r#"{"stream":"S_1", "seq":0}"#,
            r#"{"stream":"S_1", "seq":017}"#,
            r#"{"stream":"S_1", "seq":1.5}"#,
            r#"{"stream":"S_1", "seq":18446744073709551616}"#,
            r#"{"stream":"S_1", "seq":17"#,
            r#"{"stream":"S_1", "seq":17} "#,
            r#"{"stream":"S_1", "seq":17,"duplicate":true}"#,
            r#"{"stream":"S_1", "seq":17,"domain":"d"}"#,
            r#"{"stream":"S_12", "seq":17}"#,
            r#"{"stream":"S", "seq":17}"#,
            r#"{"seq":17, "stream":"S_1"}"#,
            r#"{"error":{"code":503},"stream":"S_1", "seq":17}"#,
        ] {
            assert_eq!(read(b"", text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn deliveries_are_read() {
        let given = Some(Given { sequence: 4, count: 3, pending: 2 });
        assert_eq!(delivered(b"$JS.ACK.S.c.1.4.3.1796039459687694677.2"), given);
        assert_eq!(delivered(b"$JS.ACK.d.h.S.c.1.4.3.17.2.r"), given);
        assert_eq!(delivered(b"$JS.ACK.d.h.S.c.1.4.3.17.2"), given);
        for reply in [
            &b""[..],
            b"$JS.ACK.S.c.1.4.1.17",
            b"$JS.NAK.S.c.1.4.1.17.2",
            b"$JS.ACK.S.c.1.x.1.17.2",
            b"$JS.ACK.S.c.1.4.x.17.2",
            &b".".repeat(100_000),
        ] {
            assert_eq!(delivered(reply), None);
        }
    }
}
