use super::*;
use crate::connect::encoding::Encoding;
use crate::connect::expect::Pattern;
use crate::connect::screen::{Colors, Style};
use crate::stdout::{Output, Waker};

fn plan() -> Plan {
    Plan {
        sends: Vec::new(),
        expectations: Expectations::new(Vec::new(), false),
        count: None,
        hold: None,
        deadline: None,
        timeout: None,
        ping_every: None,
        forgiving: false,
    }
}

fn expecting(pattern: &str) -> Expectations {
    Expectations::new(vec![Pattern::parse(pattern).unwrap()], false)
}

/// A dialog with an open connection.
fn open(plan: Plan) -> Dialog {
    let screen = Screen {
        stdout: Output::start(Waker::default(), |_| Ok(())).unwrap(),
        style: Style::Pipe,
        json: false,
        encoding: None::<Encoding>,
        framing: crate::connect::lines::Framing::Lines,
        quiet: true,
        control: false,
        verbose: false,
        colors: Colors::default(),
        started: Instant::now(),
    };
    let mut dialog = Dialog::new(plan, screen, Stdin::new(Waker::default()));
    dialog.opened(ConnId::default());
    dialog
}

/// Takes everything that there is to send.
fn drain(dialog: &mut Dialog) -> Vec<String> {
    let sent = std::iter::from_fn(|| dialog.next()).map(|message| message.as_text().unwrap().to_owned()).collect();
    dialog.rest();
    sent
}

fn code(close: Option<Close>) -> Option<u16> {
    close.and_then(|close| close.code()).map(CloseCode::get)
}

#[test]
fn what_is_given_goes_before_what_is_read() {
    let mut dialog = open(Plan { sends: ["a".into(), "b".into()].into(), ..plan() });
    dialog.stdin.push(Input::Message("c".into()));
    assert_eq!(drain(&mut dialog), ["a", "b", "c"]);
    assert!(dialog.close.is_none() && !dialog.wants_to_write());
}

#[test]
fn the_end_of_input_is_answered_by_two_pings_and_a_close() {
    let mut dialog = open(plan());
    dialog.stdin.push(Input::End);
    assert!(dialog.wants_to_write());
    drain(&mut dialog);
    for _ in 0..2 {
        assert!(dialog.close.is_none());
        let ping = dialog.pings.pop_front().unwrap();
        assert!(dialog.pings.is_empty());
        dialog.pong(b"of the keepalive");
        assert!(dialog.pings.is_empty());
        dialog.message(&"late".into());
        dialog.pong(ping.as_bytes());
    }
    assert_eq!(code(dialog.close.take()), Some(1000));
}

#[test]
fn a_peer_that_answers_no_ping_is_closed_all_the_same() {
    let mut dialog = open(plan());
    dialog.stdin.push(Input::End);
    drain(&mut dialog);
    let at = dialog.next_look().unwrap();
    dialog.look(at - Duration::from_millis(1));
    assert!(dialog.close.is_none());
    dialog.look(at);
    assert_eq!(code(dialog.close.take()), Some(1000));
    dialog.look(dialog.next_look().unwrap());
    assert!(dialog.is_over(), "one that answers no close is left");
}

#[test]
fn goals_outlast_the_input_and_end_it_when_they_are_met() {
    let mut dialog = open(Plan { expectations: expecting("x"), ..plan() });
    dialog.stdin.push(Input::End);
    drain(&mut dialog);
    assert!(dialog.close.is_none() && dialog.pings.is_empty() && dialog.next_look().is_none());
    dialog.message(&"y".into());
    assert!(dialog.close.is_none());
    dialog.message(&"x".into());
    assert_eq!(code(dialog.close.take()), Some(1000));
    dialog.message(&"after it".into());
    assert!(dialog.finish().is_ok());
}

#[test]
fn nothing_ends_before_everything_given_is_sent() {
    let mut dialog = open(Plan { sends: ["a".into()].into(), expectations: expecting("x"), ..plan() });
    dialog.message(&"x".into());
    assert!(dialog.close.is_none());
    assert_eq!(drain(&mut dialog), ["a"]);
    assert_eq!(code(dialog.close.take()), Some(1000));
}

#[test]
fn a_count_ends_it_and_judges_what_was_expected() {
    let mut dialog = open(Plan { count: Some(2), ..plan() });
    dialog.message(&"1".into());
    assert!(dialog.close.is_none());
    dialog.message(&"2".into());
    assert_eq!(code(dialog.close.take()), Some(1000));
    assert!(dialog.finish().is_ok());

    let mut dialog = open(Plan { count: Some(1), expectations: expecting("x"), ..plan() });
    dialog.message(&"y".into());
    assert_eq!(code(dialog.close.take()), Some(1000));
    assert_eq!(dialog.finish().unwrap_err().code, THRESHOLD);
}

#[test]
fn a_hold_begins_when_nothing_more_is_to_do() {
    let mut dialog = open(Plan { hold: Some(Hold::Forever), count: Some(1), ..plan() });
    dialog.message(&"1".into());
    assert!(dialog.close.is_none() && dialog.next_look().is_none());
    dialog.stdin.push(Input::Message("still".into()));
    assert_eq!(drain(&mut dialog), ["still"]);

    let mut dialog = open(Plan { hold: Some(Hold::For(Duration::from_secs(5))), ..plan() });
    assert_eq!(dialog.next_look(), None);
    dialog.stdin.push(Input::End);
    drain(&mut dialog);
    let end = dialog.next_look().unwrap();
    dialog.look(end);
    assert_eq!(code(dialog.close.take()), Some(1000));
}

#[test]
fn a_deadline_is_a_verdict() {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut dialog = open(Plan { deadline: Some(deadline), timeout: Some(Duration::from_secs(5)), ..plan() });
    assert_eq!(dialog.next_look(), Some(deadline));
    dialog.look(deadline);
    assert_eq!(code(dialog.close.take()), Some(1000));
    let failure = dialog.finish().unwrap_err();
    assert_eq!((failure.code, failure.message.as_str()), (TIMEOUT, "not done within 5s"));
}

#[test]
fn an_interrupt_comes_before_what_waits() {
    let mut dialog = open(plan());
    dialog.stdin.push(Input::Message("waits".into()));
    dialog.stdin.interrupt();
    dialog.look(Instant::now());
    assert_eq!(code(dialog.close.take()), Some(1001));
    assert_eq!(dialog.next(), None);
}

#[test]
fn without_a_connection_an_interrupt_ends_it_at_once() {
    let mut dialog = open(plan());
    dialog.conn = None;
    dialog.phase = Phase::Waiting;
    dialog.stdin.interrupt();
    dialog.look(Instant::now());
    assert!(dialog.is_over());
    assert_eq!(dialog.finish().unwrap_err().code, GENERAL);
}

#[test]
fn a_wrong_line_ends_a_filter_and_only_annoys_who_types() {
    let wrong = || Input::Wrong("no".to_owned());
    let mut dialog = open(plan());
    dialog.stdin.push(wrong());
    drain(&mut dialog);
    assert_eq!(code(dialog.close.take()), Some(1000));
    assert_eq!(dialog.finish().unwrap_err().code, GENERAL);

    let mut dialog = open(Plan { forgiving: true, ..plan() });
    dialog.stdin.push(wrong());
    dialog.stdin.push(Input::Message("right".into()));
    assert_eq!(drain(&mut dialog), ["right"]);
    assert!(dialog.close.is_none());
}

#[test]
fn commands_are_carried_out_in_their_order() {
    let mut dialog = open(plan());
    dialog.stdin.push(Input::Message("first".into()));
    dialog.stdin.push(Input::Command(Command::Ping(ControlPayload::EMPTY)));
    dialog.stdin.push(Input::Command(Command::Close(CloseCode::GOING_AWAY.into())));
    dialog.stdin.push(Input::Message("never".into()));
    assert_eq!(drain(&mut dialog), ["first"]);
    assert_eq!(dialog.pings.len(), 1);
    assert_eq!(code(dialog.close.take()), Some(1001));
}

/// Everything was read, and not everything was answered.
fn settled(sent: &[&str], received: &[&str]) -> Dialog {
    let mut dialog = open(plan());
    for text in sent {
        dialog.stdin.push(Input::Message((*text).to_owned().into()));
    }
    dialog.stdin.push(Input::End);
    drain(&mut dialog);
    for text in received {
        dialog.message(&(*text).into());
    }
    for _ in 0..2 {
        let ping = dialog.pings.pop_front().unwrap();
        dialog.pong(ping.as_bytes());
    }
    dialog
}

#[test]
fn answers_have_a_moment_when_everything_is_read() {
    // Each message has its answer: nothing is waited for.
    assert_eq!(code(settled(&["a"], &["A"]).close), Some(1000));
    assert_eq!(code(settled(&[], &[]).close), Some(1000));
    let mut dialog = settled(&["a"], &[]);
    assert!(dialog.close.is_none());
    dialog.message(&"A".into());
    assert_eq!(code(dialog.close.take()), Some(1000));
    // One that answers several by one is not waited for as long.
    let mut dialog = settled(&["a", "b", "c"], &[]);
    let whole = dialog.next_look().unwrap();
    dialog.message(&"ABC".into());
    let short = dialog.next_look().unwrap();
    assert!(dialog.close.is_none() && short < whole);
    dialog.look(short);
    assert_eq!(code(dialog.close.take()), Some(1000));
    // One that never answers.
    let mut dialog = settled(&["a"], &[]);
    dialog.look(dialog.next_look().unwrap());
    assert_eq!(code(dialog.close.take()), Some(1000));
    assert!(dialog.finish().is_ok());
}

#[test]
fn what_is_given_is_sent_on_each_connection() {
    let mut dialog = open(Plan { sends: vec!["subscribe".into()], ..plan() });
    assert_eq!(drain(&mut dialog), ["subscribe"]);
    dialog.opened(ConnId::default());
    assert_eq!(drain(&mut dialog), ["subscribe"]);
}

#[test]
fn an_interrupted_one_without_a_goal_ends_by_the_signal() {
    let mut dialog = open(plan());
    dialog.stdin.interrupt();
    dialog.look(Instant::now());
    assert_eq!(code(dialog.close.take()), Some(1001));
    assert_eq!(dialog.finish().unwrap_err().code, 130);
}
