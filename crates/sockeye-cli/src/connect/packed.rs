//! What was agreed on compression, for people.

use sockeye::proto::ext::deflate::{Agreed, Direction};

/// A line of `--verbose`, where compression was wanted.
pub(crate) fn line(agreed: Option<Agreed>, is_client: bool) -> String {
    match agreed {
        Some(Agreed { send, receive }) => {
            format!("compression: sent messages may refer to {}, received ones to {}", past(send), past(receive))
        }
        None if is_client => "no compression: the server did not accept it".to_owned(),
        None => "no compression: the client did not offer it".to_owned(),
    }
}

fn past(direction: Direction) -> String {
    match direction.history_bytes() {
        0 => "themselves alone".to_owned(),
        bytes @ ..1024 => format!("{bytes} bytes before them"),
        bytes => format!("{} KiB before them", bytes / 1024),
    }
}

#[cfg(test)]
mod tests {
    use sockeye::proto::ext::deflate::WindowBits;

    use super::*;

    #[test]
    fn each_direction_has_its_history() {
        let small = WindowBits::try_from(8).unwrap();
        let agreed = Agreed {
            send: Direction { window: small, takeover: true },
            receive: Direction { window: WindowBits::MAX, takeover: true },
        };
        let expected =
            "compression: sent messages may refer to 256 bytes before them, received ones to 32 KiB before them";
        assert_eq!(line(Some(agreed), true), expected);
        let forgets = Direction { window: WindowBits::MAX, takeover: false };
        let told = line(Some(Agreed { receive: forgets, ..agreed }), true);
        assert!(told.ends_with("received ones to themselves alone"), "{told}");
        assert!(line(None, true).ends_with("the server did not accept it"));
        assert!(line(None, false).ends_with("the client did not offer it"));
    }
}
