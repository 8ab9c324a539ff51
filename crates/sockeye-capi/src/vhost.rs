//! A set of protocols with listeners of its own. A program of 2013 has one.

use std::ffi::{CString, c_void};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::lock::lock;
use crate::mounts::Mount;
use crate::pool::{Owner, Pool};
use crate::protocol::CProtocol;
use crate::tls::Own;
use crate::wsi::Wsi;

pub(crate) static VHOSTS: Pool<Vhost> = Pool::new();

/// Protocols, and who listens for them.
#[derive(Default)]
pub struct Vhost {
    /// The context.
    pub(crate) owner: Owner,
    /// The port that it listens on; 0: none.
    pub(crate) port: AtomicU16,
    pub(crate) user: AtomicPtr<c_void>,
    /// Messages may be compressed, if the context may.
    pub(crate) compresses: AtomicBool,
    pub(crate) settings: Mutex<Settings>,
    /// Blocks of the program, by the indices of the protocols that they are for.
    private: Mutex<Vec<(usize, Vec<u128>)>>,
    protocols: Mutex<Vec<&'static CProtocol>>,
    /// A record for each protocol, for callbacks that are about no connection.
    placeholders: Mutex<Vec<&'static Wsi>>,
}

/// What else a vhost has.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) name: CString,
    /// What answers say of the server.
    pub(crate) server: Option<Vec<u8>>,
    pub(crate) mounts: Arc<[Mount]>,
    /// What its connections over TLS are made with.
    pub(crate) own: Own,
}

impl fmt::Debug for Vhost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vhost").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Vhost {
    pub(crate) fn new<C: Sync>(context: &'static C) -> &'static Self {
        let vhost = VHOSTS.take();
        vhost.owner.set(Some(context));
        vhost
    }

    pub(crate) fn add(&self, protocol: &'static CProtocol) {
        self.protocols.lock().unwrap_or_else(PoisonError::into_inner).push(protocol);
        let placeholder = Wsi::placeholder(&self.owner, protocol);
        self.placeholders.lock().unwrap_or_else(PoisonError::into_inner).push(placeholder);
    }

    pub(crate) fn protocols(&self) -> Vec<&'static CProtocol> {
        self.protocols.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The record that stands for no connection of this protocol.
    pub(crate) fn placeholder_of(&self, index: usize) -> Option<&'static Wsi> {
        self.placeholders.lock().unwrap_or_else(PoisonError::into_inner).get(index).copied()
    }

    /// The first protocol, which has what belongs to none.
    pub(crate) fn first(&self) -> Option<&'static CProtocol> {
        self.protocols.lock().unwrap_or_else(PoisonError::into_inner).first().copied()
    }

    /// One of its protocols by what the program has of it: the element that it was given.
    pub(crate) fn of_element(&self, element: *const c_void) -> Option<&'static CProtocol> {
        let protocols = self.protocols.lock().unwrap_or_else(PoisonError::into_inner);
        protocols.iter().find(|own| ptr::eq(own.element.load(Ordering::Acquire), element)).copied()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&'static CProtocol> {
        let protocols = self.protocols.lock().unwrap_or_else(PoisonError::into_inner);
        protocols.iter().find(|protocol| protocol.is_named(name)).copied()
    }

    /// The block that the program has for one of its protocols; made of zeros, of so many bytes, if there is none. Null without
    /// bytes.
    pub(crate) fn private(&self, index: usize, bytes: usize) -> *mut c_void {
        let mut private = lock(&self.private);
        if let Some((_, block)) = private.iter_mut().find(|(own, _)| *own == index) {
            return block.as_mut_ptr().cast();
        }
        if bytes == 0 {
            return ptr::null_mut();
        }
        let mut block = vec![0_u128; bytes.div_ceil(size_of::<u128>())];
        let pointer = block.as_mut_ptr().cast();
        private.push((index, block));
        pointer
    }

    pub(crate) fn release(&'static self) {
        let placeholders = std::mem::take(&mut *self.placeholders.lock().unwrap_or_else(PoisonError::into_inner));
        placeholders.into_iter().for_each(Wsi::release);
        let protocols = std::mem::take(&mut *self.protocols.lock().unwrap_or_else(PoisonError::into_inner));
        protocols.into_iter().for_each(CProtocol::release);
        lock(&self.private).clear();
        *lock(&self.settings) = Settings::default();
        self.user.store(ptr::null_mut(), Ordering::Release);
        self.compresses.store(false, Ordering::Release);
        self.port.store(0, Ordering::Release);
        self.owner.set::<Self>(None);
        VHOSTS.give(self);
    }
}

impl CProtocol {
    /// The vhost that it belongs to, if it is in use.
    pub(crate) fn vhost(&self) -> Option<&'static Vhost> {
        VHOSTS.owner(&self.owner)
    }

    /// The first protocol of its vhost, which has what belongs to none.
    pub(crate) fn first_of_vhost(&'static self) -> &'static Self {
        self.vhost().and_then(Vhost::first).unwrap_or(self)
    }
}
