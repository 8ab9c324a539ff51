//! Compressed messages on their way out and in (permessage-deflate, RFC 7692).

use std::mem;
use std::ops::Range;

use sockeye_proto::conn::{Connection, Deflation, Input};
use sockeye_proto::error::Violation;
use sockeye_proto::event::Fragment;
use sockeye_proto::ext::deflate::{Agreed, Direction, WindowBits};
use sockeye_proto::wire::{EncodedHeader, MessageKind, Role};

use crate::compression::Compression;
use crate::transport::aside::{Aside, FORGOTTEN_AFTER};
use crate::transport::batch::{Batch, Framed, Frames, Packed, Sums};
use crate::transport::codecs::Binding;
use crate::transport::feed::Told;
use crate::transport::frames::Port;
use crate::transport::loop_io::LoopIo;
use crate::transport::write::SocketWriter;

impl SocketWriter<'_> {
    /// Sends a whole message compressed, if it becomes shorter by that. Returns whether it was sent.
    #[cold]
    #[inline(never)]
    pub(crate) fn put_packed(&mut self, port: &mut Port<'_>, kind: MessageKind, payload: &[u8]) -> bool {
        let settings = self.io.codecs.settings(port.endpoint);
        if !settings.takes(payload.len()) {
            return false;
        }
        let mut packed = self.take_packed();
        let is_packed = self.pack(port, settings, payload, None, &mut packed)
            && self.put_packed_frame(port, Some(kind), true, payload.len(), &packed);
        self.give_packed(packed);
        is_packed
    }

    /// Sends a part of a message compressed, if it begins one and this is wanted, or continues one that is compressed. Returns
    /// whether it was sent.
    #[cold]
    #[inline(never)]
    pub(crate) fn put_packed_part(
        &mut self,
        port: &mut Port<'_>,
        kind: Option<MessageKind>,
        last: bool,
        payload: &[u8],
    ) -> bool {
        let settings = self.io.codecs.settings(port.endpoint);
        let is_fragmenting = match kind {
            Some(_) => settings.takes_fragments(),
            None => port.aside.as_ref().is_some_and(|aside| aside.is_fragmenting()),
        };
        if !is_fragmenting {
            return false;
        }
        let mut packed = self.take_packed();
        let is_packed = self.pack(port, settings, payload, Some(last), &mut packed)
            && self.put_packed_frame(port, kind, last, payload.len(), &packed);
        if let Some(aside) = port.aside {
            aside.set_fragmenting(!last);
        }
        self.give_packed(packed);
        is_packed
    }

    /// Appends the compressed form of a message, or of a part of one, to `packed`. Returns whether there is one.
    // Always inlined, into two callers: of a short message the calls are a part of the cost that shows.
    #[inline(always)]
    fn pack(
        &mut self,
        port: &mut Port<'_>,
        settings: Compression,
        payload: &[u8],
        part: Option<bool>,
        packed: &mut Vec<u8>,
    ) -> bool {
        let Some(agreed) = port.ws.deflate() else { return false };
        let aside = port.aside.get_or_insert_default();
        let Some(packing) = aside.packing(port.ws, || settings.own_history_bytes()) else { return false };
        let io = &mut *self.io;
        io.feeds.fold(&mut packing.told, port.endpoint, agreed.send.window, &mut packing.deflation);
        // Without a history there is nothing to be bound to.
        let binding = if agreed.send.takeover { packing.binding } else { Binding::NONE };
        let machine = io.codecs.deflater(settings.level_number(), agreed.send.window, binding);
        let Some((codec, binding)) = machine else { return false };
        // What was tried and not sent is nothing that the peer has seen.
        let is_bound = match part {
            None => packing.deflation.message(codec, payload, packed),
            Some(last) => packing.deflation.fragment(codec, payload, last, packed),
        };
        let is_packed = is_bound || part.is_some();
        packing.binding = if is_bound && agreed.send.takeover { binding } else { Binding::NONE };
        packing.sent(io.codecs.now());
        packing.count_in(&io.pool);
        if part.is_none() {
            aside.drop_packing();
        }
        io.codecs.note_use();
        io.note_effort(payload.len() as u64 * DEFLATE_COST);
        is_packed
    }

    /// Sends a frame with this compressed payload, which was `plain` bytes long.
    fn put_packed_frame(
        &mut self,
        port: &mut Port<'_>,
        kind: Option<MessageKind>,
        last: bool,
        plain: usize,
        packed: &[u8],
    ) -> bool {
        let key = match port.ws.role() {
            Role::Server => None,
            Role::Client => match self.mask_key() {
                None => return true,
                key => key,
            },
        };
        let head = match kind {
            Some(kind) => port.ws.frame_compressed(kind, last, packed.len() as u64, key),
            None => port.ws.frame(None, last, packed.len() as u64, key),
        };
        debug_assert!(head.is_ok(), "a permission was out of step with its connection");
        let Ok(head) = head else { return true };
        let io = &mut *self.io;
        io.send_budget = io.send_budget.saturating_sub(plain + io.frame_cost);
        let sent = &mut io.meters.statistics.compression;
        sent.sent += u64::from(last);
        sent.sent_plain_bytes += plain as u64;
        sent.sent_bytes += packed.len() as u64;
        match key {
            None => self.put_frame(head, packed),
            Some(key) => self.put_frame_masked(head, packed, key),
        }
        true
    }

    /// Sends published messages compressed, from the one with the number `first`: once compressed for all connections of a
    /// window, referring to nothing before, which is valid for each of them whatever it was sent. Leaves nothing in the cork.
    #[inline(never)]
    pub(super) fn put_published_packed(&mut self, port: &mut Port<'_>, agreed: Agreed, batch: &Framed, first: usize) {
        let Some(shared) = batch.packed(agreed.send.window) else {
            return self.pack_published(port, agreed, batch, first);
        };
        let frames = shared.frames.frames();
        match port.ws.role() {
            Role::Server => self.put_shared(shared.frames.bytes(), if first == 0 { 0 } else { frames.end_of(first) }),
            Role::Client => self.put_masked_packed(frames, first),
        }
        if self.socket.has_backlog() || !self.io.cork.is_empty() {
            self.flush();
        }
        let sums = if first == 0 { shared.sums } else { sums(batch.frames(), frames, first) };
        let sent = &mut self.io.meters.statistics.compression;
        sent.sent += sums.messages;
        sent.sent_plain_bytes += sums.plain_bytes;
        sent.sent_bytes += sums.packed_bytes;
        if !agreed.send.takeover || sums.messages == 0 {
            return;
        }
        // They belong to its history from now on.
        let part = shared.part.end - sums.plain_bytes..shared.part.end;
        match port.aside.as_mut().and_then(|aside| aside.packing.as_mut()) {
            Some(packing) if packing.told.is_before(&part) => {
                packing.told.extend(&part);
                packing.forget_at = Some(shared.forget_at);
            }
            _ => self.note_apart(port, agreed.send.window, part),
        }
    }

    /// The first of its window compresses them for all.
    #[cold]
    #[inline(never)]
    fn pack_published(&mut self, port: &mut Port<'_>, agreed: Agreed, batch: &Framed, first: usize) {
        let (window, plain) = (agreed.send.window, batch.frames());
        let packed = if batch.is_private() { None } else { pack_all(self.io, port.endpoint, window, plain) };
        match packed {
            Some(packed) => {
                batch.set_packed(window, packed);
                self.put_published_packed(port, agreed, batch, first);
            }
            None => {
                self.put_run_packed(port, plain.messages(first..plain.len()));
                self.flush();
            }
        }
    }

    /// It is the first, or does not follow upon the last.
    #[cold]
    #[inline(never)]
    fn note_apart(&self, port: &mut Port<'_>, window: WindowBits, part: Range<u64>) {
        let settings = self.io.codecs.settings(port.endpoint);
        let aside = port.aside.get_or_insert_default();
        let Some(packing) = aside.packing(port.ws, || settings.own_history_bytes()) else { return };
        self.io.feeds.fold(&mut packing.told, port.endpoint, window, &mut packing.deflation);
        packing.told = Told::begin(part);
        // The compressor that knew this connection's messages does not know these.
        packing.binding = Binding::NONE;
        packing.sent(self.io.codecs.now());
        packing.count_in(&self.io.pool);
    }

    /// A client's frames of messages that are compressed already.
    fn put_masked_packed(&mut self, frames: Frames<'_>, first: usize) {
        let range = first..frames.len();
        for ((kind, payload), is_packed) in frames.messages(range.clone()).zip(frames.are_packed(range)) {
            let Some(key) = self.mask_key() else { return };
            let head = Batch::head(kind, is_packed, payload.len(), Some(key));
            self.put_frame_masked(head, payload, key);
        }
    }

    /// Sends messages one by one, each compressed if that makes it shorter.
    #[cold]
    pub(super) fn put_run_packed<'m>(
        &mut self,
        port: &mut Port<'_>,
        messages: impl Iterator<Item = (MessageKind, &'m [u8])>,
    ) {
        for (kind, payload) in messages {
            if self.put_packed(port, kind, payload) {
                continue;
            }
            match port.ws.role() {
                Role::Server => {
                    let head: EncodedHeader = Batch::head(kind, false, payload.len(), None);
                    self.put_frame(head, payload);
                }
                Role::Client => self.put_masked(std::iter::once((kind, payload))),
            }
        }
    }

    /// The buffer for a compressed message.
    fn take_packed(&mut self) -> Vec<u8> {
        mem::take(&mut self.io.codecs.packed)
    }

    fn give_packed(&mut self, mut packed: Vec<u8>) {
        packed.clear();
        packed.shrink_to(PACKED_KEPT);
        self.io.codecs.packed = packed;
    }
}

/// All messages of a batch, those compressed that become shorter by it. `None` without a compressor or memory.
#[cold]
fn pack_all(io: &mut LoopIo, endpoint: u16, window: WindowBits, plain: Frames<'_>) -> Option<Packed> {
    let settings = io.codecs.settings(endpoint);
    let mut all = Batch::default();
    let mut packed = mem::take(&mut io.codecs.packed);
    let mut none = Deflation::new(Direction { window, takeover: false }, 0);
    let mut is_done = true;
    for (kind, payload) in plain.messages(0..plain.len()) {
        packed.clear();
        let mut is_packed = false;
        if settings.takes(payload.len()) {
            // It refers to nothing before, so any compressor will do.
            let machine = io.codecs.deflater(settings.level_number(), window, Binding::NONE);
            is_packed = machine.is_some_and(|(codec, _)| none.message(codec, payload, &mut packed));
            io.meters.statistics.compression.deflated += 1;
            io.note_effort(payload.len() as u64 * DEFLATE_COST);
        }
        let bytes = if is_packed { &packed[..] } else { payload };
        is_done &= all.push_as(kind, is_packed, bytes).is_ok();
    }
    packed.clear();
    packed.shrink_to(PACKED_KEPT);
    io.codecs.packed = packed;
    io.codecs.note_use();
    let pool = io.pool.borrow();
    if !is_done {
        return None;
    }
    let frames = all.framed();
    let most = Deflation::new(Direction { window, takeover: true }, settings.own_history_bytes()).history().most();
    let seen = plain.messages(0..plain.len()).zip(frames.frames().are_packed(0..plain.len()));
    let messages = seen.filter_map(|((_, payload), is_packed)| is_packed.then_some(payload));
    let part = io.feeds.add(endpoint, window, most, messages, pool.account());
    let sums = sums(plain, frames.frames(), 0);
    let forget_at = io.codecs.now().saturating_add(FORGOTTEN_AFTER);
    Some(Packed { frames, sums, part, forget_at })
}

/// The compressed ones of a batch's messages, from the one with the number `first`.
fn sums(plain: Frames<'_>, packed: Frames<'_>, first: usize) -> Sums {
    let range = first..plain.len();
    let messages = plain.messages(range.clone()).zip(packed.messages(range.clone()));
    let mut sums = Sums::default();
    for (((_, payload), (_, packed)), is_packed) in messages.zip(packed.are_packed(range)) {
        if is_packed {
            sums.messages += 1;
            sums.plain_bytes += payload.len() as u64;
            sums.packed_bytes += packed.len() as u64;
        }
    }
    sums
}

/// Inflates the next piece of a compressed message, and hands it over. Returns what came of that, and what the work cost as bytes
/// of input.
///
/// The piece is in a buffer of the loop, which is taken out of it meanwhile.
pub(crate) fn inflate<R>(
    ws: &mut Connection,
    aside: &mut Option<Box<Aside>>,
    io: &mut LoopIo,
    endpoint: u16,
    input: &mut Input<'_>,
    deliver: impl FnOnce(
        &mut Connection,
        &mut Option<Box<Aside>>,
        &mut LoopIo,
        Result<Option<Fragment<'_>>, Violation>,
    ) -> R,
) -> (R, usize) {
    let codecs = &mut io.codecs;
    let place = aside.get_or_insert_default();
    let packing = place.packing(ws, || codecs.settings(endpoint).own_history_bytes());
    let mut output = mem::take(&mut codecs.output);
    let mut own = None;
    // That of the message in progress, or any. A connection agrees to compression only where there is a codec.
    let Some((packing, inflater)) = packing.and_then(|packing| {
        own = packing.inflater.take();
        Some((packing, own.as_mut().or_else(|| codecs.inflater())?))
    }) else {
        codecs.output = output;
        return (deliver(ws, aside, io, Err(Violation::DeflateCorrupt)), 0);
    };
    output.resize(OUTPUT, 0);
    let before = input.len();
    let result = ws.inflate(input, &mut packing.inflation, inflater, &mut output);
    let work = packing.inflation.take_work();
    if packing.inflation.is_within() {
        packing.inflater = own.or_else(|| codecs.take_inflater());
    } else if let Some(own) = own {
        codecs.give_inflater(own);
    }
    codecs.note_use();
    packing.count_in(&io.pool);
    place.drop_packing();
    io.note_effort(work as u64);
    let received = &mut io.meters.statistics.compression;
    received.received_bytes += (before - input.len()) as u64;
    if let Ok(Some(fragment)) = &result {
        received.received += u64::from(fragment.last);
        received.received_plain_bytes += fragment.payload.as_bytes().len() as u64;
    }
    let done = deliver(ws, aside, io, result);
    io.codecs.output = output;
    (done, work)
}

/// The bytes of an inflated piece, at most.
const OUTPUT: usize = 64 * 1024;
/// How much of the buffer for compressed messages is kept.
const PACKED_KEPT: usize = 64 * 1024;
/// Compressing a byte costs as much as moving so many.
const DEFLATE_COST: u64 = 8;
