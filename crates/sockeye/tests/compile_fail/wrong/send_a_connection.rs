//! A view of a connection stays on the thread of its service; its id and a `Remote` may go anywhere.

use sockeye::{Commands, ConnId};

fn ask(commands: &mut Commands, id: ConnId) {
    if let Ok(mut connection) = commands.connection(id) {
        std::thread::scope(|scope| {
            scope.spawn(move || connection.request_writable());
        });
    }
}

fn main() {}
