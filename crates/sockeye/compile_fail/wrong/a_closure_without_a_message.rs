//! The closure of `messages::on` gets the context and the message.

use sockeye::messages;

fn main() {
    let _ = messages::on("print", |message| {
        println!("{message:?}");
        Ok(())
    });
}
