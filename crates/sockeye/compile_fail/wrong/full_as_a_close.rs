//! A full outbox has no close code of its own: what it means depends on the message.

use sockeye::messages;

fn main() {
    let _ = messages::on("echo", |cx, message| {
        cx.push(message)?;
        Ok(())
    });
}
