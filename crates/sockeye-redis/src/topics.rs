//! The subscriptions of one connection: what the hub wants, and what was sent to the server.
//!
//! A topic has at most one command under way, whatever the hub asks for meanwhile. So what is expected of the server is bounded by the
//! number of topics, not by how often clients come and go.

use std::collections::HashMap;
use std::sync::Arc;

/// What has to be done about a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Nothing, or not yet.
    Nothing,
    /// Send SUBSCRIBE.
    Subscribe,
    /// Send UNSUBSCRIBE.
    Unsubscribe,
    /// Tell the hub that the subscription has begun.
    Report,
    /// Tell the hub that there is none.
    ReportEnd,
}

#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_name: HashMap<Arc<str>, Topic>,
}

#[derive(Debug)]
struct Topic {
    is_wanted: bool,
    state: State,
}

/// What was sent to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// SUBSCRIBE, and it has not answered.
    Beginning,
    /// SUBSCRIBE, and it did.
    On,
    /// UNSUBSCRIBE, and it has not answered.
    Ending,
}

impl Topics {
    /// The hub wants a topic.
    pub(crate) fn want(&mut self, name: &str) -> (Arc<str>, Step) {
        if let Some((name, topic)) = self.find(name) {
            topic.is_wanted = true;
            return (name, if topic.state == State::On { Step::Report } else { Step::Nothing });
        }
        let name: Arc<str> = name.into();
        self.by_name.insert(Arc::clone(&name), Topic { is_wanted: true, state: State::Beginning });
        (name, Step::Subscribe)
    }

    /// The hub wants it no more.
    pub(crate) fn leave(&mut self, name: &str) -> (Arc<str>, Step) {
        let Some((name, topic)) = self.find(name) else { return (name.into(), Step::Nothing) };
        topic.is_wanted = false;
        if topic.state != State::On {
            return (name, Step::Nothing);
        }
        topic.state = State::Ending;
        (name, Step::Unsubscribe)
    }

    /// The server has answered SUBSCRIBE.
    pub(crate) fn begin(&mut self, name: &str) -> Step {
        match self.by_name.get_mut(name) {
            Some(topic) if topic.state == State::Beginning => {
                topic.state = if topic.is_wanted { State::On } else { State::Ending };
                if topic.is_wanted { Step::Report } else { Step::Unsubscribe }
            }
            _ => Step::Nothing,
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
            Some(Topic { is_wanted: true, state: state @ State::Ending }) => {
                *state = State::Beginning;
                Step::Subscribe
            }
            Some(Topic { state: State::Beginning, .. }) | None => Step::Nothing,
            Some(_) => self.refuse(name),
        }
    }

    /// Whether messages of a topic are to be reported.
    pub(crate) fn has_begun(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|topic| topic.is_wanted && topic.state == State::On)
    }

    fn find(&mut self, name: &str) -> Option<(Arc<str>, &mut Topic)> {
        let (name, _) = self.by_name.get_key_value(name)?;
        let name = Arc::clone(name);
        let topic = self.by_name.get_mut(&name)?;
        Some((name, topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_is_under_way_however_often_a_topic_is_wanted_and_left() {
        let mut topics = Topics::default();
        assert_eq!(topics.want("a").1, Step::Subscribe);
        for _ in 0..10 {
            assert_eq!(topics.leave("a").1, Step::Nothing);
            assert_eq!(topics.want("a").1, Step::Nothing);
        }
        assert_eq!(topics.begin("a"), Step::Report);
        assert!(topics.has_begun("a"));
        assert_eq!(topics.leave("a").1, Step::Unsubscribe);
        assert!(!topics.has_begun("a"));
        assert_eq!(topics.want("a").1, Step::Nothing);
        assert!(!topics.has_begun("a"));
        assert_eq!(topics.end("a"), Step::Subscribe);
        assert_eq!(topics.leave("a").1, Step::Nothing);
        assert_eq!(topics.begin("a"), Step::Unsubscribe);
        assert_eq!(topics.end("a"), Step::Nothing);
        assert!(topics.by_name.is_empty());
    }

    #[test]
    fn the_end_of_a_wanted_topic_is_reported() {
        let mut topics = Topics::default();
        topics.want("a");
        assert_eq!(topics.refuse("a"), Step::ReportEnd);
        topics.want("a");
        topics.begin("a");
        assert_eq!(topics.want("a").1, Step::Report);
        assert_eq!(topics.end("a"), Step::ReportEnd);
        assert_eq!(topics.end("a"), Step::Nothing);
        assert_eq!(topics.leave("a").1, Step::Nothing);
        topics.want("a");
        topics.leave("a");
        assert_eq!(topics.refuse("a"), Step::Nothing);
        assert!(topics.by_name.is_empty());
    }
}
