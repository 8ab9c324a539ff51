//! Any other type is not a handler of messages.

use sockeye::messages;

struct Room;

fn main() {
    let _ = messages::with("room", Room);
}
