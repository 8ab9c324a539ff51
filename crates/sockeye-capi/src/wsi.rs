//! What a program's pointer to a connection points to.

use std::collections::VecDeque;
use std::ffi::{CString, c_void};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sockeye::http::Response;
use sockeye::responder::RequestId;
use sockeye::sys::Address;
use sockeye::{Close, ConnId};

use crate::answer::Reply;
use crate::frame::Frame;
use crate::heads::Head;
use crate::pool::{Link, Owner, Pool};
use crate::protocol::CProtocol;

pub(crate) static WSIS: Pool<Wsi> = Pool::new();

/// Where a connection is in its life. Phases of records that stand for no connection come first: [`Wsi::find_connection`] compares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The record is not in use.
    Free,
    /// It stands for no connection.
    Placeholder,
    /// Accepted; what it will be is not known.
    Accepted,
    /// It carries an HTTP request.
    Http,
    /// A connection that the program makes.
    Connecting,
    Open,
    /// It has ended; the program is being told.
    Closed,
}

/// What is due at a deadline of the program's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Due {
    /// The end of the connection.
    Timeout,
    /// A callback.
    Timer,
}

/// A connection, or what stands for none. All of it may be read by any thread; what is behind the lock changes on the thread
/// of the loop only.
#[derive(Default)]
pub struct Wsi {
    phase: AtomicU8,
    /// The context.
    pub(crate) owner: Owner,
    pub(crate) protocol: Link<CProtocol>,
    id: AtomicU64,
    pub(crate) user: AtomicPtr<c_void>,
    pub(crate) is_client: AtomicBool,
    /// A pointer of the program's that the library does not look at.
    pub(crate) opaque: AtomicPtr<c_void>,
    /// It is one over TLS.
    pub(crate) is_encrypted: AtomicBool,
    /// The program has been told which protocol answers the request.
    pub(crate) is_bound: AtomicBool,
    /// It carries requests, or would.
    pub(crate) was_http: AtomicBool,
    /// A writeable callback was asked for.
    pub(crate) wish: AtomicBool,
    /// It was asked for inside one, and the loop is asked after the turn.
    pub(crate) wish_later: AtomicBool,
    /// Another thread asked for it, and the loop has not heard of it.
    pub(crate) wish_posted: AtomicBool,
    /// What the piece of a message is that the program is being told of.
    pub(crate) is_first: AtomicBool,
    pub(crate) is_final: AtomicBool,
    pub(crate) is_binary: AtomicBool,
    pub(crate) remaining: AtomicUsize,
    /// The program has begun a message in fragments and not finished it.
    pub(crate) is_mid_message: AtomicBool,
    /// The beginning of a frame waits for its rest.
    pub(crate) is_gathering: AtomicBool,
    /// A close was asked for.
    pub(crate) is_closing: AtomicBool,
    /// Bytes of what the program has written and the loop has not taken, with what the frames themselves take.
    pub(crate) queued: AtomicUsize,
    /// The descriptor and one; 0: it is not known.
    descriptor: AtomicI32,
    rest: Mutex<Rest>,
}

impl fmt::Debug for Wsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wsi").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// After how many seconds without a word from the peer it is sent a ping, and given up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Silence {
    pub(crate) ping: u16,
    pub(crate) hang_up: u16,
}

/// What is rarely needed of a connection.
#[derive(Default)]
pub(crate) struct Rest {
    /// The program's block. Of 16 bytes each, as malloc(3) aligns.
    pub(crate) session: Vec<u128>,
    pub(crate) frames: VecDeque<Frame>,
    /// The beginning of a frame of which the rest has not arrived.
    pub(crate) gathered: Vec<u8>,
    /// What the Close frame is to say.
    pub(crate) close: Option<Close>,
    /// A close that the program asked for while frames waited, which go first.
    pub(crate) close_behind: Option<Close>,
    pub(crate) peer: Option<Address>,
    /// The head of the request, as long as the program may ask for it.
    pub(crate) head: Option<Box<Head>>,
    /// The HTTP request that it carries, and what the program has written of its answer.
    pub(crate) request: Option<RequestId>,
    pub(crate) reply: Reply,
    /// When something is due, in the order of [`Due`].
    pub(crate) deadlines: [Option<Instant>; 2],
    /// How long the peer may be silent, if it is not as the context has it.
    pub(crate) silence: Option<Silence>,
    /// The answer to an HTTP request.
    pub(crate) answer: Option<Answer>,
}

/// The answer to a request.
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// The path and the bytes of the file, which the program learns when it was sent.
    pub(crate) file: Option<(CString, u64)>,
}

impl Wsi {
    /// A record for a connection, or for what becomes one.
    pub(crate) fn new<C: Sync>(context: &'static C, phase: Phase) -> &'static Self {
        let wsi = WSIS.take();
        wsi.owner.set(Some(context));
        wsi.set_phase(phase);
        wsi
    }

    pub(crate) fn placeholder(owner: &Owner, protocol: &'static CProtocol) -> &'static Self {
        let wsi = WSIS.take();
        wsi.owner.copy(owner);
        wsi.protocol.set(Some(protocol));
        wsi.set_phase(Phase::Placeholder);
        wsi
    }

    /// The connection that a pointer of the program's means. `None`: it means none, or one that has ended.
    #[inline]
    pub(crate) fn find(pointer: *const Self) -> Option<&'static Self> {
        WSIS.find(pointer).filter(|wsi| wsi.phase.load(Ordering::Acquire) != Phase::Free as u8)
    }

    /// As [`find`](Self::find), if it stands for a connection.
    #[inline]
    pub(crate) fn find_connection(pointer: *const Self) -> Option<&'static Self> {
        WSIS.find(pointer).filter(|wsi| wsi.phase.load(Ordering::Acquire) > Phase::Placeholder as u8)
    }

    #[inline]
    pub(crate) fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) == phase as u8
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    #[inline]
    pub(crate) fn id(&self) -> ConnId {
        ConnId::from_u64(self.id.load(Ordering::Acquire))
    }

    pub(crate) fn set_id(&self, id: ConnId) {
        self.id.store(id.as_u64(), Ordering::Release);
    }

    pub(crate) fn descriptor(&self) -> Option<i32> {
        self.descriptor.load(Ordering::Acquire).checked_sub(1).filter(|fd| *fd >= 0)
    }

    pub(crate) fn set_descriptor(&self, fd: i32) {
        self.descriptor.store(fd.saturating_add(1), Ordering::Release);
    }

    pub(crate) fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, if the record is that of this connection still: until then the thread that serves may have ended it, and given the
    /// record to another.
    pub(crate) fn rest_of(&self, id: ConnId) -> Option<MutexGuard<'_, Rest>> {
        let rest = self.rest();
        (self.id() == id && !self.is(Phase::Free)).then_some(rest)
    }

    /// Which deadlines are due, in the order of [`Due`]. Those come no more.
    pub(crate) fn take_due(&self, now: Instant) -> [bool; 2] {
        let mut rest = self.rest();
        [Due::Timeout, Due::Timer]
            .map(|due| rest.deadlines[due as usize].take_if(|deadline| *deadline <= now).is_some())
    }

    /// When the next one is.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.rest().deadlines.iter().flatten().min().copied()
    }

    /// Gives the program's block to the connection, zeroed, if its protocol has one and it has none.
    pub(crate) fn make_session(&self) -> *mut c_void {
        let own = self.user.load(Ordering::Acquire);
        let bytes = self.protocol.get().map_or(0, |protocol| protocol.session_bytes.load(Ordering::Acquire));
        if !own.is_null() || bytes == 0 {
            return own;
        }
        let mut rest = self.rest();
        rest.session = vec![0; bytes.div_ceil(size_of::<u128>())];
        let user = rest.session.as_mut_ptr().cast();
        self.user.store(user, Ordering::Release);
        user
    }

    /// Makes the program's block anew, of zeros, for the protocol that the connection has now. What the program gave in its
    /// place stays.
    pub(crate) fn renew_session(&self) -> *mut c_void {
        {
            let mut rest = self.rest();
            if !rest.session.is_empty() {
                rest.session = Vec::new();
                self.user.store(ptr::null_mut(), Ordering::Release);
            }
        }
        self.make_session()
    }

    /// Clears the record, which is free from here on: the program's pointer to it means nothing.
    pub(crate) fn release(&'static self) {
        self.set_phase(Phase::Free);
        *self.rest() = Rest::default();
        self.user.store(ptr::null_mut(), Ordering::Release);
        self.opaque.store(ptr::null_mut(), Ordering::Release);
        self.id.store(0, Ordering::Release);
        self.descriptor.store(0, Ordering::Release);
        self.queued.store(0, Ordering::Release);
        self.remaining.store(0, Ordering::Release);
        let flags = [
            &self.is_client,
            &self.is_encrypted,
            &self.is_bound,
            &self.was_http,
            &self.wish,
            &self.wish_later,
            &self.wish_posted,
            &self.is_first,
            &self.is_final,
            &self.is_binary,
            &self.is_mid_message,
            &self.is_gathering,
            &self.is_closing,
        ];
        flags.into_iter().for_each(|flag| flag.store(false, Ordering::Release));
        self.protocol.set(None);
        self.owner.set::<Self>(None);
        WSIS.give(self);
    }
}
