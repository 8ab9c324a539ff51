//! A closure is not a protocol: `messages::on` makes one of it.

use sockeye::messages::{Message, MessageCx};
use sockeye::{Close, Service};

fn main() {
    let echo = |cx: &mut MessageCx<'_, '_>, message: Message<'_>| -> Result<(), Close> {
        let _ = cx.push(message);
        Ok(())
    };
    let _ = Service::builder().protocol(echo);
}
