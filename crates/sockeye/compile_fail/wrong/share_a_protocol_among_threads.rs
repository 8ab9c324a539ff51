//! One protocol for several threads, which would have no lock around what its connections share.

use std::cell::Cell;
use std::rc::Rc;

use sockeye::{Service, Threads, messages};

fn main() {
    let told = Rc::new(Cell::new(0));
    let _ = Threads::new(2).start(move |_| {
        let told = Rc::clone(&told);
        let count = messages::on("count", move |_, _| {
            told.set(told.get() + 1);
            Ok(())
        });
        Ok(Service::builder().protocol(count))
    });
}
