//! A set of protocols with listeners of its own. A program of 2013 has one.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::context::Context;
use crate::pool::{Link, Pool};
use crate::protocol::CProtocol;
use crate::wsi::Wsi;

pub(crate) static VHOSTS: Pool<Vhost> = Pool::new();

/// Protocols, and who listens for them.
#[derive(Default)]
pub(crate) struct Vhost {
    pub(crate) context: Link<Context>,
    /// The port that it listens on; 0: none.
    pub(crate) port: AtomicU16,
    protocols: Mutex<Vec<&'static CProtocol>>,
    /// A record for each protocol, for callbacks that are about no connection.
    placeholders: Mutex<Vec<&'static Wsi>>,
}

impl Vhost {
    pub(crate) fn new(context: &'static Context) -> &'static Self {
        let vhost = VHOSTS.take();
        vhost.context.set(Some(context));
        vhost
    }

    pub(crate) fn add(&self, protocol: &'static CProtocol) {
        self.protocols.lock().unwrap_or_else(PoisonError::into_inner).push(protocol);
        let placeholder = Wsi::placeholder(self.context.get(), protocol);
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

    pub(crate) fn named(&self, name: &str) -> Option<&'static CProtocol> {
        let protocols = self.protocols.lock().unwrap_or_else(PoisonError::into_inner);
        protocols.iter().find(|protocol| protocol.is_named(name)).copied()
    }

    pub(crate) fn release(&'static self) {
        let placeholders = std::mem::take(&mut *self.placeholders.lock().unwrap_or_else(PoisonError::into_inner));
        placeholders.into_iter().for_each(Wsi::release);
        let protocols = std::mem::take(&mut *self.protocols.lock().unwrap_or_else(PoisonError::into_inner));
        protocols.into_iter().for_each(CProtocol::release);
        self.port.store(0, Ordering::Release);
        self.context.set(None);
        VHOSTS.give(self);
    }
}
