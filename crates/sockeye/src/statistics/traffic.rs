//! How frames and close codes are counted.

use sockeye_proto::close::Close;
use sockeye_proto::wire::{MAX_CONTROL_BYTES, OpCode};

use crate::statistics::{Codes, Traffic};

impl Traffic {
    /// Frames of all kinds.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.messages + self.parts + self.pings + self.pongs + self.closes
    }

    /// Counts a received piece of a message.
    #[inline(always)]
    pub(crate) fn piece(&mut self, last: bool, remaining: u64) {
        #[cold]
        fn not_last(traffic: &mut Traffic, remaining: u64) {
            if remaining == 0 {
                traffic.parts += 1;
            }
        }
        if last {
            self.messages += 1;
        } else {
            not_last(self, remaining);
        }
    }

    /// Counts sent control frames. `bytes` has nothing else.
    pub(crate) fn controls(&mut self, mut bytes: &[u8]) {
        while let [first, second, ..] = bytes {
            match OpCode::of_first_byte(*first) {
                Some(OpCode::Ping) => self.pings += 1,
                Some(OpCode::Pong) => self.pongs += 1,
                _ => self.closes += 1,
            }
            // RFC 6455 section 5.5: control frames have at most 125 bytes of payload, so the second byte has the whole
            // length.
            let key = if second & 0x80 == 0 { 0 } else { 4 };
            let len = 2 + key + usize::from(second & 0x7f).min(MAX_CONTROL_BYTES);
            bytes = bytes.get(len..).unwrap_or_default();
        }
    }
}

impl Codes {
    /// The counter for the code of a Close frame.
    pub(super) fn of(&mut self, close: Option<&Close>) -> &mut u64 {
        let Some(close) = close else { return &mut self.c1006 };
        match close.code().map(|code| code.get()) {
            None => &mut self.c1005,
            Some(1000) => &mut self.c1000,
            Some(1001) => &mut self.c1001,
            Some(1002) => &mut self.c1002,
            Some(1003) => &mut self.c1003,
            Some(1007) => &mut self.c1007,
            Some(1008) => &mut self.c1008,
            Some(1009) => &mut self.c1009,
            Some(1010) => &mut self.c1010,
            Some(1011) => &mut self.c1011,
            Some(1012) => &mut self.c1012,
            Some(1013) => &mut self.c1013,
            Some(1014) => &mut self.c1014,
            Some(3000..=3999) => &mut self.c3xxx,
            // The rest: 4000 to 4999.
            Some(_) => &mut self.c4xxx,
        }
    }
}
