//! The closure of `messages::on` says whether the connection goes on.

use sockeye::messages;

fn main() {
    let _ = messages::on("print", |_, message| {
        println!("{message:?}");
    });
}
