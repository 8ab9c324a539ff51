//! Counts allocations: data frames never allocate, and pings without a payload do not either.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use sockeye_proto::conn::{Connection, HEADROOM, Input};
use sockeye_proto::event::Event;
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::{EncodedHeader, OpCode, Role, mask};

// Per thread, because the thread of the test runner allocates too.
thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is forwarded to the system's allocator, which fulfils the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending does not count.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller fulfils the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller fulfils the contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn frame(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = EncodedHeader::new(fin, 0, opcode, payload.len() as u64, Some(key)).to_vec();
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask::apply(&mut bytes[start..], key, 0);
    bytes
}

#[test]
fn an_echoed_message_allocates_nothing_however_it_is_cut() {
    let text = "aé漢𝄞".repeat(500);
    let stream = [
        frame(true, OpCode::Text, text.as_bytes()),
        frame(false, OpCode::Text, &text.as_bytes()[..11]),
        frame(true, OpCode::Ping, b""),
        frame(false, OpCode::Continuation, &text.as_bytes()[11..13]),
        frame(true, OpCode::Pong, b"x"),
        frame(true, OpCode::Continuation, &text.as_bytes()[13..]),
        frame(true, OpCode::Binary, &[7; 70_000]),
        frame(true, OpCode::Binary, &[7; 20]),
    ]
    .concat();
    let now = Instant::from_nanos(0);
    let mut connection = Connection::new(Role::Server, Arc::new(ProtocolLimits::default()), now);
    let mut buffer = vec![0; HEADROOM + stream.len()];
    let mut out = Vec::with_capacity(2 * stream.len());
    for size in [1, 2, 3, 7, 100, 4096, stream.len()] {
        out.clear();
        let before = COUNT.get();
        for read in stream.chunks(size) {
            buffer[HEADROOM..][..read.len()].copy_from_slice(read);
            let mut input = Input::new(&mut buffer[..HEADROOM + read.len()], HEADROOM);
            while let Some(event) = connection.receive(&mut input).unwrap() {
                if let Event::Fragment(piece) = event {
                    let kind = piece.first.then_some(piece.kind);
                    let payload = piece.payload.as_bytes();
                    out.extend_from_slice(&connection.frame(kind, piece.last, payload.len() as u64, None).unwrap());
                    out.extend_from_slice(payload);
                    out.clear();
                }
                connection.transmit(&mut out, &mut || unreachable!());
            }
            connection.receive_done(now);
        }
        let after = COUNT.get();
        assert_eq!(after - before, 0, "reads of {size} bytes");
    }
}
