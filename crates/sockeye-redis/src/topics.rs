//! The subscriptions of one connection: what the hub wants, and what was sent to the server.
//!
//! A topic has at most one command of each kind under way, whatever the hub asks for meanwhile. So what is expected of the server is
//! bounded by the number of topics, not by how often clients come and go.
//!
//! With history, SUBSCRIBE is followed by a script that loads what is kept. Redis answers in order, and a message of the channel has its
//! place in that order too: what arrives between the two answers was published before the script ran, and is part of what it
//! returns. So nothing has to be held back until then.

use std::collections::HashMap;
use std::sync::Arc;

use sockeye_hub::backplane::Position;

/// What has to be done about a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Nothing, or not yet.
    Nothing,
    /// Send SUBSCRIBE, and with history the script.
    Subscribe,
    /// Send UNSUBSCRIBE.
    Unsubscribe,
    /// Send the script.
    Load,
    /// Tell the hub that the subscription has begun.
    Report,
    /// Tell the hub that there is none.
    ReportEnd,
}

#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_name: HashMap<Arc<str>, Topic>,
    keeps_history: bool,
}

#[derive(Debug)]
struct Topic {
    is_wanted: bool,
    state: State,
    /// Where this server was before, for the answer of the script.
    after: Option<Position>,
}

/// What was sent to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing yet: others are loaded first.
    Waiting,
    /// SUBSCRIBE, and it has not answered.
    Beginning,
    /// SUBSCRIBE, and it did; but not to the script.
    Loading {
        /// The last message that was left to the script.
        left: Option<Position>,
        is_repeated: bool,
    },
    /// All that makes a subscription. With history, where it is.
    On(Option<Position>),
    /// UNSUBSCRIBE, and it has not answered.
    Ending,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    Report,
    Drop,
    /// It is of another epoch, and the topic is loaded anew.
    Load,
}

impl Topics {
    pub(crate) fn new(keeps_history: bool) -> Self {
        Self { by_name: HashMap::new(), keeps_history }
    }

    /// The hub wants a topic.
    pub(crate) fn want(&mut self, name: &str, after: Option<Position>) -> (Arc<str>, Step) {
        let keeps_history = self.keeps_history;
        if let Some((name, topic)) = self.find(name) {
            (topic.is_wanted, topic.after) = (true, after);
            let step = match topic.state {
                State::On(_) if keeps_history => {
                    topic.state = State::Loading { left: None, is_repeated: false };
                    Step::Load
                }
                State::On(_) => Step::Report,
                _ => Step::Nothing,
            };
            return (name, step);
        }
        let name: Arc<str> = name.into();
        self.by_name.insert(Arc::clone(&name), Topic { is_wanted: true, state: State::Beginning, after });
        (name, Step::Subscribe)
    }

    /// The hub wants it no more.
    pub(crate) fn leave(&mut self, name: &str) -> (Arc<str>, Step) {
        let Some((name, topic)) = self.find(name) else { return (name.into(), Step::Nothing) };
        topic.is_wanted = false;
        let step = match topic.state {
            State::On(_) | State::Loading { .. } => topic.end(),
            State::Waiting | State::Beginning | State::Ending => Step::Nothing,
        };
        (name, step)
    }

    /// What was to be sent for a topic has to wait.
    pub(crate) fn hold(&mut self, name: &str) {
        if let Some(Topic { state: state @ State::Beginning, .. }) = self.by_name.get_mut(name) {
            *state = State::Waiting;
        }
    }

    /// What is to be sent now for a topic that had to wait.
    pub(crate) fn resume(&mut self, name: &str) -> Step {
        let Some(topic) = self.by_name.get_mut(name) else { return Step::Nothing };
        match topic {
            Topic { state: state @ State::Waiting, is_wanted: true, .. } => {
                *state = State::Beginning;
                Step::Subscribe
            }
            Topic { state: State::Waiting, .. } => {
                self.by_name.remove(name);
                Step::Nothing
            }
            Topic { state: State::Loading { .. }, .. } => Step::Load,
            _ => Step::Nothing,
        }
    }

    /// The server has answered SUBSCRIBE.
    pub(crate) fn begin(&mut self, name: &str) -> Step {
        match self.by_name.get_mut(name) {
            Some(topic) if topic.state == State::Beginning => match (topic.is_wanted, self.keeps_history) {
                (false, _) => topic.end(),
                (true, false) => {
                    topic.state = State::On(None);
                    Step::Report
                }
                (true, true) => {
                    topic.state = State::Loading { left: None, is_repeated: false };
                    Step::Nothing
                }
            },
            _ => Step::Nothing,
        }
    }

    /// Whether the answer of the script is waited for; if so, the position to judge it by.
    pub(crate) fn is_loading(&self, name: &str) -> Option<Option<Position>> {
        let topic = self.by_name.get(name)?;
        matches!(topic.state, State::Loading { .. }).then_some(topic.after)
    }

    /// The server has answered the script: everything up to `position`. True if a message was left to the script that it has not.
    pub(crate) fn load(&mut self, name: &str, position: Position) -> bool {
        let Some(topic) = self.by_name.get_mut(name) else { return false };
        let State::Loading { left, .. } = topic.state else { return false };
        topic.state = State::On(Some(position));
        left.is_some_and(|left| left.epoch == position.epoch && left.offset > position.offset)
    }

    /// The server does not know the script. It is sent again, once.
    pub(crate) fn repeat(&mut self, name: &str) -> Option<Step> {
        match self.by_name.get_mut(name).map(|topic| &mut topic.state) {
            Some(State::Loading { is_repeated: true, .. }) => None,
            Some(State::Loading { is_repeated, .. }) => {
                *is_repeated = true;
                Some(Step::Load)
            }
            _ => Some(Step::Nothing),
        }
    }

    /// The server has refused SUBSCRIBE.
    pub(crate) fn refuse(&mut self, name: &str) -> Step {
        let was_wanted = self.by_name.remove(name).is_some_and(|topic| topic.is_wanted);
        if was_wanted { Step::ReportEnd } else { Step::Nothing }
    }

    /// The server has ended a subscription, asked or not.
    pub(crate) fn end(&mut self, name: &str) -> Step {
        match self.by_name.get_mut(name) {
            Some(Topic { is_wanted: true, state: state @ State::Ending, .. }) => {
                *state = State::Beginning;
                Step::Subscribe
            }
            Some(Topic { state: State::Waiting | State::Beginning, .. }) | None => Step::Nothing,
            Some(_) => self.refuse(name),
        }
    }

    /// Whether messages of a topic are to be reported.
    pub(crate) fn has_begun(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|topic| topic.is_wanted && matches!(topic.state, State::On(_)))
    }

    /// A message has arrived, with history.
    pub(crate) fn arrive(&mut self, name: &str, message: Position) -> Arrival {
        let Some(topic) = self.by_name.get_mut(name) else { return Arrival::Drop };
        match &mut topic.state {
            State::On(Some(position)) if position.epoch != message.epoch => {
                topic.after = Some(*position);
                topic.state = State::Loading { left: Some(message), is_repeated: false };
                Arrival::Load
            }
            State::On(Some(position)) if position.offset < message.offset => {
                *position = message;
                Arrival::Report
            }
            State::Loading { left, .. } => {
                *left = Some(message);
                Arrival::Drop
            }
            _ => Arrival::Drop,
        }
    }

    fn find(&mut self, name: &str) -> Option<(Arc<str>, &mut Topic)> {
        let (name, _) = self.by_name.get_key_value(name)?;
        let name = Arc::clone(name);
        let topic = self.by_name.get_mut(&name)?;
        Some((name, topic))
    }
}

impl Topic {
    fn end(&mut self) -> Step {
        self.state = State::Ending;
        Step::Unsubscribe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_is_under_way_however_often_a_topic_is_wanted_and_left() {
        let mut topics = Topics::new(false);
        assert_eq!(topics.want("a", None).1, Step::Subscribe);
        for _ in 0..10 {
            assert_eq!(topics.leave("a").1, Step::Nothing);
            assert_eq!(topics.want("a", None).1, Step::Nothing);
        }
        assert_eq!(topics.begin("a"), Step::Report);
        assert!(topics.has_begun("a"));
        assert_eq!(topics.leave("a").1, Step::Unsubscribe);
        assert!(!topics.has_begun("a"));
        assert_eq!(topics.want("a", None).1, Step::Nothing);
        assert!(!topics.has_begun("a"));
        assert_eq!(topics.end("a"), Step::Subscribe);
        assert_eq!(topics.leave("a").1, Step::Nothing);
        assert_eq!(topics.begin("a"), Step::Unsubscribe);
        assert_eq!(topics.end("a"), Step::Nothing);
        assert!(topics.by_name.is_empty());
    }

    #[test]
    fn the_end_of_a_wanted_topic_is_reported() {
        let mut topics = Topics::new(false);
        topics.want("a", None);
        assert_eq!(topics.refuse("a"), Step::ReportEnd);
        topics.want("a", None);
        topics.begin("a");
        assert_eq!(topics.want("a", None).1, Step::Report);
        assert_eq!(topics.end("a"), Step::ReportEnd);
        assert_eq!(topics.end("a"), Step::Nothing);
        assert_eq!(topics.leave("a").1, Step::Nothing);
        topics.want("a", None);
        topics.leave("a");
        assert_eq!(topics.refuse("a"), Step::Nothing);
        assert!(topics.by_name.is_empty());
    }

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch, offset }
    }

    #[test]
    fn with_history_messages_are_reported_once_and_behind_what_was_loaded() {
        let mut topics = Topics::new(true);
        assert_eq!(topics.want("a", Some(at(1, 3))).1, Step::Subscribe);
        assert_eq!(topics.arrive("a", at(1, 4)), Arrival::Drop);
        assert_eq!(topics.begin("a"), Step::Nothing);
        assert_eq!(topics.arrive("a", at(1, 5)), Arrival::Drop);
        assert_eq!(topics.is_loading("a"), Some(Some(at(1, 3))));
        assert!(!topics.load("a", at(1, 5)));
        assert_eq!(topics.is_loading("a"), None);
        for (offset, arrival) in [(5, Arrival::Drop), (6, Arrival::Report), (6, Arrival::Drop), (9, Arrival::Report)] {
            assert_eq!(topics.arrive("a", at(1, offset)), arrival);
        }
        assert_eq!(topics.arrive("b", at(1, 10)), Arrival::Drop);
        assert_eq!(topics.want("a", None).1, Step::Load);
        assert_eq!(topics.want("a", Some(at(1, 9))).1, Step::Nothing);
        assert_eq!(topics.is_loading("a"), Some(Some(at(1, 9))));
        assert_eq!(topics.leave("a").1, Step::Unsubscribe);
        assert_eq!(topics.arrive("a", at(1, 10)), Arrival::Drop);
        assert_eq!(topics.is_loading("a"), None);
    }

    #[test]
    fn another_epoch_is_loaded_from_where_the_last_ended() {
        let mut topics = Topics::new(true);
        topics.want("a", None);
        topics.begin("a");
        topics.load("a", at(1, 5));
        assert_eq!(topics.arrive("a", at(2, 1)), Arrival::Load);
        assert_eq!(topics.arrive("a", at(3, 1)), Arrival::Drop);
        assert_eq!(topics.is_loading("a"), Some(Some(at(1, 5))));
        // Redis answers in order; a server that does not has lost messages.
        assert!(topics.load("a", at(3, 0)));
        assert_eq!(topics.arrive("a", at(3, 2)), Arrival::Report);
    }

    #[test]
    fn a_script_is_repeated_once() {
        let mut topics = Topics::new(true);
        topics.want("a", None);
        topics.begin("a");
        assert_eq!(topics.repeat("a"), Some(Step::Load));
        assert_eq!(topics.repeat("a"), None);
        topics.leave("a");
        assert_eq!(topics.repeat("a"), Some(Step::Nothing));
    }
}
