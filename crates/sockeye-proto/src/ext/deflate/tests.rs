use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::ext::params::{self, MAX_ITEMS};

fn bits(bits: u8) -> WindowBits {
    WindowBits::try_from(bits).unwrap()
}

fn direction(window: u8, takeover: bool) -> Direction {
    Direction { window: bits(window), takeover }
}

const fn settings(send: Direction, receive: Direction) -> Settings {
    Settings { send, receive }
}

/// What a server with these settings answers to these lines, and how it sends and receives then.
fn answered(settings: Settings, lines: &[&str]) -> Option<(String, Agreed)> {
    let offers = params::parse(lines.iter().map(|line| line.as_bytes())).unwrap();
    settings.accept(&offers).map(|(agreed, answer)| (answer.to_string(), agreed))
}

fn answer(settings: Settings, offer: &str) -> Option<String> {
    answered(settings, &[offer]).map(|(answer, _)| answer)
}

fn checked(settings: Settings, answer: &str) -> Result<Option<Agreed>, NegotiationError> {
    settings.check(&params::parse([answer.as_bytes()]).unwrap())
}

/// Every combination of windows and takeovers that one side may want.
fn all_settings() -> impl Iterator<Item = Settings> {
    let directions = || (8..=15).flat_map(|window| [direction(window, true), direction(window, false)]);
    directions().flat_map(move |send| directions().map(move |receive| settings(send, receive)))
}

/// Every legal offer of one element, without a name: each parameter there or not, in each legal form.
fn all_offers() -> impl Iterator<Item = String> {
    let windows = |name: &'static str| (8..=15).map(move |bits| format!("; {name}={bits}"));
    let server = move || [String::new()].into_iter().chain(windows("server_max_window_bits"));
    let bare = [String::new(), "; client_max_window_bits".to_owned()];
    let client = move || bare.clone().into_iter().chain(windows("client_max_window_bits"));
    let flags = ["", "; server_no_context_takeover"].into_iter().flat_map(|server| {
        ["", "; client_no_context_takeover"].into_iter().map(move |client| format!("{server}{client}"))
    });
    flags.flat_map(move |flags| {
        let client = client.clone();
        server().flat_map(move |server| {
            let flags = flags.clone();
            client().map(move |client| format!("permessage-deflate{client}{flags}{server}"))
        })
    })
}

#[test]
fn the_forms_in_the_wild_are_answered() {
    let server = Settings::server();
    let own_window = settings(direction(12, true), direction(15, true));
    let nothing_kept = settings(direction(15, false), direction(15, false));
    for (settings, offer, expected) in [
        // Chrome, Edge, Node.js.
        (server, "permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=11"),
        // Firefox, Safari.
        (server, "permessage-deflate", "permessage-deflate; client_no_context_takeover"),
        (Settings::client(), "permessage-deflate", "permessage-deflate"),
        (Settings::client(), "permessage-deflate; client_max_window_bits", "permessage-deflate"),
        // Gorilla, which wants both back.
        (
            server,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        // Python's websockets.
        (
            server,
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=11",
        ),
        // A hint below what we would allow is kept to.
        (
            server,
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=8; client_max_window_bits=9",
        ),
        (
            Settings::client(),
            "permessage-deflate; client_max_window_bits=9",
            "permessage-deflate; client_max_window_bits=9",
        ),
        (
            server,
            "permessage-deflate; server_max_window_bits=\"10\"",
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=10",
        ),
        // "By including" it an offer is accepted, though nothing changes.
        (
            Settings::client(),
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=15",
        ),
        // What is forgotten need not be small.
        (
            server,
            "permessage-deflate; client_no_context_takeover; client_max_window_bits",
            "permessage-deflate; client_no_context_takeover",
        ),
        // What we do of our own accord is told.
        (own_window, "permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        (own_window, "permessage-deflate; server_max_window_bits=14", "permessage-deflate; server_max_window_bits=12"),
        (
            nothing_kept,
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        // RFC 7692 section 7.1.3.
        (
            server,
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
             permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11",
        ),
    ] {
        assert_eq!(answer(settings, offer).as_deref(), Some(expected), "{offer}");
    }
}

#[test]
fn an_offer_that_breaks_a_rule_is_declined_and_the_next_one_is_looked_at() {
    let bad = [
        "x",
        "server_no_context_takeover=1",
        "server_no_context_takeover=true",
        "client_no_context_takeover=\"0\"",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=10",
        "client_max_window_bits=10; client_max_window_bits=10",
        "server_max_window_bits=10; server_max_window_bits=11",
        "server_max_window_bits",
        "server_max_window_bits=0",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=010",
        "server_max_window_bits=-9",
        "server_max_window_bits=+9",
        "server_max_window_bits=9.0",
        "server_max_window_bits=a",
        "server_max_window_bits=264",
        "server_max_window_bits=18446744073709551624",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=09",
        "client_max_window_bits=99999999999999999999999999",
        "Client_max_window_bits",
        "max_window_bits=10",
    ];
    for parameters in bad {
        let offer = format!("permessage-deflate; {parameters}");
        assert_eq!(answer(Settings::server(), &offer), None, "{offer}");
        let expected = Some("permessage-deflate; client_max_window_bits=11".to_owned());
        for second in ["permessage-deflate; client_max_window_bits", "foo, permessage-deflate; client_max_window_bits"]
        {
            assert_eq!(answer(Settings::server(), &format!("{offer}, {second}")), expected, "{offer}");
            let lines = answered(Settings::server(), &[&offer, second]).map(|(answer, _)| answer);
            assert_eq!(lines, expected, "{offer}");
        }
        // In an answer the same is an error, and so is a window without bits.
        assert!(checked(Settings::client(), &offer).is_err(), "{offer}");
    }
}

#[test]
fn other_extensions_are_declined() {
    for line in ["", ",", "x-webkit-deflate-frame", "permessage-bzip2", "PERMESSAGE-DEFLATE", "permessage-deflate2"] {
        assert_eq!(answer(Settings::server(), line), None, "{line}");
    }
    let lines = ["mux; max-channels=4", "", "foo; a=b, permessage-deflate; client_max_window_bits, bar"];
    let (answer, agreed) = answered(Settings::server(), &lines).unwrap();
    assert_eq!(answer, "permessage-deflate; client_max_window_bits=11");
    assert_eq!(agreed, Agreed { send: direction(15, true), receive: direction(11, true) });
}

#[test]
fn a_client_offers_what_its_settings_ask_for() {
    for (settings, expected) in [
        (Settings::client(), "permessage-deflate; client_max_window_bits"),
        (Settings::server(), "permessage-deflate; server_max_window_bits=11; client_max_window_bits"),
        (settings(direction(10, true), direction(15, true)), "permessage-deflate; client_max_window_bits=10"),
        (
            settings(direction(15, false), direction(15, true)),
            "permessage-deflate; client_no_context_takeover; client_max_window_bits",
        ),
        (
            settings(direction(8, false), direction(8, false)),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=8",
        ),
        (
            settings(direction(12, false), direction(9, true)),
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=12",
        ),
    ] {
        assert_eq!(settings.offer().to_string(), expected);
        assert_eq!(format!("{:?}", settings.offer()), format!("{expected:?}"));
    }
}

#[test]
fn an_answer_is_agreed_to() {
    let agreed = |send, receive| Ok(Some(Agreed { send, receive }));
    let unlimited = Direction::UNLIMITED;
    let client = Settings::client();
    for (settings, answer, expected) in [
        (client, "", Ok(None)),
        (client, " , ", Ok(None)),
        (client, "permessage-deflate", agreed(unlimited, unlimited)),
        (client, ",permessage-deflate,", agreed(unlimited, unlimited)),
        (client, "permessage-deflate; client_max_window_bits=8", agreed(direction(8, true), unlimited)),
        (client, "permessage-deflate; client_max_window_bits=\"9\"", agreed(direction(9, true), unlimited)),
        // Each of these may be answered unasked.
        (client, "permessage-deflate; client_no_context_takeover", agreed(direction(15, false), unlimited)),
        (client, "permessage-deflate; server_no_context_takeover", agreed(unlimited, direction(15, false))),
        (client, "permessage-deflate; server_max_window_bits=8", agreed(unlimited, direction(8, true))),
        (
            client,
            "permessage-deflate; server_max_window_bits=\"1\\3\" ;client_max_window_bits = 10;\
             client_no_context_takeover;server_no_context_takeover",
            agreed(direction(10, false), direction(13, false)),
        ),
        // Our hint holds, whatever the server makes of it.
        (
            settings(direction(9, false), unlimited),
            "permessage-deflate; client_max_window_bits=12",
            agreed(direction(9, false), unlimited),
        ),
        (settings(direction(9, true), unlimited), "permessage-deflate", agreed(direction(9, true), unlimited)),
        (Settings::server(), "permessage-deflate; server_max_window_bits=11", agreed(unlimited, direction(11, true))),
        (
            Settings::server(),
            "permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
            agreed(unlimited, direction(10, false)),
        ),
    ] {
        assert_eq!(checked(settings, answer), expected, "{answer}");
    }
}

#[test]
fn an_answer_that_breaks_a_rule_is_told_apart() {
    use NegotiationError::{
        ExtensionNotOffered, ExtensionRepeated, ParameterIgnored, ParameterRepeated, ParameterUnknown, ParameterValue,
        WindowTooLarge,
    };
    use Parameter::{ClientMaxWindowBits, ClientNoContextTakeover, ServerMaxWindowBits, ServerNoContextTakeover};
    let client = Settings::client();
    let forgetful = settings(Direction::UNLIMITED, direction(15, false));
    for (settings, answer, error, words) in [
        (client, "foo", ExtensionNotOffered, "not offered"),
        (client, "permessage-deflate, foo", ExtensionNotOffered, "not offered"),
        (client, "Permessage-Deflate", ExtensionNotOffered, "not offered"),
        (client, "permessage-deflate, permessage-deflate", ExtensionRepeated, "accepted twice"),
        (client, "permessage-deflate; foo", ParameterUnknown, "unknown parameter"),
        (
            client,
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            ParameterRepeated(ClientNoContextTakeover),
            "client_no_context_takeover is there twice",
        ),
        (
            client,
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            ParameterRepeated(ServerMaxWindowBits),
            "server_max_window_bits is there twice",
        ),
        (
            client,
            "permessage-deflate; server_no_context_takeover=1",
            ParameterValue(ServerNoContextTakeover),
            "server_no_context_takeover has a value",
        ),
        (
            client,
            "permessage-deflate; client_no_context_takeover=1",
            ParameterValue(ClientNoContextTakeover),
            "client_no_context_takeover has a value",
        ),
        (
            client,
            "permessage-deflate; client_max_window_bits",
            ParameterValue(ClientMaxWindowBits),
            "client_max_window_bits is not a number from 8 to 15",
        ),
        (client, "permessage-deflate; client_max_window_bits=16", ParameterValue(ClientMaxWindowBits), "8 to 15"),
        (client, "permessage-deflate; server_max_window_bits", ParameterValue(ServerMaxWindowBits), "8 to 15"),
        (
            forgetful,
            "permessage-deflate",
            ParameterIgnored(ServerNoContextTakeover),
            "without server_no_context_takeover, which was asked for",
        ),
        (
            Settings::server(),
            "permessage-deflate",
            ParameterIgnored(ServerMaxWindowBits),
            "without server_max_window_bits, which was asked for",
        ),
        (
            Settings::server(),
            "permessage-deflate; server_max_window_bits=12",
            WindowTooLarge,
            "larger server_max_window_bits than were offered",
        ),
    ] {
        assert_eq!(checked(settings, answer), Err(error), "{answer}");
        let text = error.to_string();
        assert!(text.contains(words) && text.contains("(RFC "), "{text}");
    }
}

/// Whatever our client offers, our server accepts, and our client accepts the answer. Both see the same.
#[test]
fn both_roles_agree_for_every_pair_of_settings() {
    let servers: Vec<_> = all_settings().collect();
    for client in all_settings() {
        let offer = client.offer();
        let offers = params::parse([offer.as_bytes()]).unwrap();
        for server in &servers {
            let (at_server, answer) = server.accept(&offers).unwrap();
            let answers = params::parse([answer.as_bytes()]).unwrap();
            let at_client = client.check(&answers).unwrap().unwrap();
            let context = || format!("{client:?} {offer} {server:?} {answer}");
            assert_eq!((at_client.send, at_client.receive), (at_server.receive, at_server.send), "{}", context());
            for (side, agreed) in [(server, at_server), (&client, at_client)] {
                assert!(agreed.send.window <= side.send.window, "{}", context());
                assert!(side.send.takeover || !agreed.send.takeover, "{}", context());
                assert!(agreed.receive.history_bytes() <= side.receive.history_bytes(), "{}", context());
            }
        }
    }
}

/// Every legal offer is accepted by every server, within the budget of both.
#[test]
fn every_legal_offer_is_accepted() {
    let servers: Vec<_> = all_settings().collect();
    for offer in all_offers() {
        let offers = params::parse([offer.as_bytes()]).unwrap();
        let offered = Parameters::of_offer(&offers[0]).unwrap();
        for server in &servers {
            let (agreed, answer) = server.accept(&offers).unwrap();
            let text = answer.to_string();
            let context = || format!("{offer} {server:?} {text}");
            let answers = params::parse([text.as_bytes()]).unwrap();
            let answered = Parameters::of_answer(&answers[0]).unwrap();
            assert_eq!(answered.answer().as_bytes(), text.as_bytes(), "{}: it is whole", context());
            // What a client must be told.
            assert!(!offered.server_no_context_takeover || answered.server_no_context_takeover, "{}", context());
            assert!(!offered.client_no_context_takeover || answered.client_no_context_takeover, "{}", context());
            if let Some(most) = offered.server_max_window_bits {
                assert!(answered.server_max_window_bits.is_some_and(|window| window <= most), "{}", context());
            }
            match offered.client_max_window_bits {
                None => assert_eq!(answered.client_max_window_bits, None, "{}", context()),
                Some(hint) => {
                    assert!(answered.client_max_window_bits.is_none_or(|window| window <= hint), "{}", context())
                }
            }
            // What the two sides then hold for true is the same.
            assert_eq!(agreed.send.takeover, !answered.server_no_context_takeover, "{}", context());
            assert_eq!(agreed.send.window, answered.server_max_window_bits.unwrap_or(WindowBits::MAX), "{}", context());
            assert_eq!(agreed.receive.takeover, !answered.client_no_context_takeover, "{}", context());
            assert_eq!(
                agreed.receive.window,
                answered.client_max_window_bits.unwrap_or(WindowBits::MAX),
                "{}",
                context()
            );
            assert!(agreed.receive.history_bytes() <= server.receive.history_bytes(), "{}", context());
        }
    }
}

#[test]
fn a_cut_line_is_an_offer_or_declined_or_malformed() {
    let line = "foo; a=\"b\", permessage-deflate; server_no_context_takeover; client_max_window_bits=\"10\"; \
                server_max_window_bits=12; client_no_context_takeover, permessage-deflate";
    for at in 0..=line.len() {
        let (before, after) = line.split_at(at);
        for piece in [before, after] {
            if let Ok(extensions) = params::parse([piece.as_bytes()]) {
                obeys_the_rules(&extensions);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_list_is_negotiated_within_the_settings(
        elements in prop::collection::vec((
            prop_oneof![4 => Just("permessage-deflate"), 1 => Just("foo")],
            prop::collection::vec((
                prop_oneof![
                    Just("server_no_context_takeover"), Just("client_no_context_takeover"),
                    Just("server_max_window_bits"), Just("client_max_window_bits"), Just("x"),
                ],
                prop_oneof![Just(String::new()), "=\"?[0-9a-z\\\\]{1,3}\"?"],
            ), 0..5),
        ), 0..5),
        changed in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let elements = elements.iter().map(|(name, params)| {
            params.iter().fold((*name).to_owned(), |text, (name, value)| format!("{text};{name}{value}"))
        });
        let mut line = elements.collect::<Vec<_>>().join(",").into_bytes();
        if let Ok(extensions) = params::parse([&line[..]]) {
            obeys_the_rules(&extensions);
        }
        if !line.is_empty() {
            let at = changed.index(line.len());
            line[at] = byte;
            if let Ok(extensions) = params::parse([&line[..]]) {
                obeys_the_rules(&extensions);
            }
        }
    }
}

/// What holds of every list of extensions, as an offer and as an answer.
fn obeys_the_rules(extensions: &[Extension<'_>]) {
    assert!(extensions.len() <= MAX_ITEMS);
    for settings in [
        Settings::server(),
        Settings::client(),
        settings(direction(9, false), direction(8, true)),
        settings(direction(8, true), direction(12, false)),
    ] {
        if let Some((agreed, answer)) = settings.accept(extensions) {
            assert!(agreed.receive.history_bytes() <= settings.receive.history_bytes());
            assert!(agreed.send.window <= settings.send.window);
            let answers = params::parse([answer.as_bytes()]).unwrap();
            assert_eq!(answers.len(), 1);
            Parameters::of_answer(&answers[0]).unwrap();
        }
        if let Ok(Some(agreed)) = settings.check(extensions) {
            assert!(agreed.receive.history_bytes() <= settings.receive.history_bytes());
            assert!(agreed.send.window <= settings.send.window);
        }
    }
}

#[test]
fn the_longest_value_has_room() {
    let all = Parameters {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: Some(WindowBits::MAX),
        client_max_window_bits: Some(WindowBits::MAX),
    };
    assert_eq!(
        all.answer().to_string(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=15; client_max_window_bits=15"
    );
    assert_eq!(all.answer().as_bytes().len(), 128);
}

#[test]
fn a_window_is_8_to_15_bits() {
    for number in 0..=u8::MAX {
        let window = WindowBits::try_from(number);
        assert_eq!(window.is_ok(), (8..=15).contains(&number), "{number}");
        if let Ok(window) = window {
            assert_eq!((window.get(), window.bytes()), (number, 1 << number));
            assert_eq!(WindowBits::within(window.bytes()), Some(window));
            assert_eq!(WindowBits::within(window.bytes() - 1), WindowBits::try_from(number - 1).ok());
        }
    }
    assert_eq!((WindowBits::MIN, WindowBits::TWO_KIB, WindowBits::MAX), (bits(8), bits(11), bits(15)));
    assert_eq!(WindowBits::within(2048), Some(WindowBits::TWO_KIB));
    for bytes in [65_535, 65_536, 1 << 40, usize::MAX] {
        assert_eq!(WindowBits::within(bytes), Some(WindowBits::MAX), "{bytes}");
    }
    assert_eq!((WindowBits::within(0), WindowBits::within(255)), (None, None));
    assert!(InvalidWindowBits.to_string().contains("8 to 15"));
}

#[test]
fn what_is_agreed_is_small() {
    assert_eq!(size_of::<Option<Agreed>>(), 4);
    assert_eq!(size_of::<Option<Settings>>(), 4);
    assert!(size_of::<NegotiationError>() <= 2);
    assert_eq!(direction(11, true).history_bytes(), 2048);
    assert_eq!(direction(11, false).history_bytes(), 0);
}
