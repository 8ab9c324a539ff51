//! In the place of `tls` without a feature that brings it: a stream of TLS that there cannot be.
#![expect(clippy::needless_pass_by_ref_mut, reason = "signatures are those of `tls`")]

use std::cell::RefCell;
use std::io::{self, IoSlice};

use crate::sys::{Handle, Sys};
use crate::tls::Session;
use crate::transport::pool::Pool;
use crate::transport::readiness::Readiness;
use crate::transport::stream::plain::Plain;

pub(in crate::transport) const LEAST_BACK: usize = 0;

#[derive(Debug, Default)]
pub(in crate::transport) struct Scratch {}

pub(in crate::transport) struct Below<'a> {
    pub(in crate::transport) sys: &'a mut dyn Sys,
    pub(in crate::transport) scratch: &'a mut Scratch,
    pub(in crate::transport) pool: &'a RefCell<Pool>,
    pub(in crate::transport) handle: Handle,
    pub(in crate::transport) lower: Option<&'a mut Tls>,
}

impl<'a> Below<'a> {
    pub(in crate::transport) fn through<'b>(self, lower: Option<&'b mut Tls>) -> Below<'b>
    where
        'a: 'b,
    {
        Below { sys: self.sys, scratch: self.scratch, pool: self.pool, handle: self.handle, lower }
    }

    pub(in crate::transport) fn is_full(&self) -> bool {
        match &self.lower {
            Some(lower) => match **lower {},
            None => false,
        }
    }
}

#[expect(dead_code, reason = "nothing is received that was sealed")]
pub(in crate::transport) enum Received {
    Plain(usize, usize),
    Sealed(usize),
    Nothing,
    End,
    Failed(io::ErrorKind),
}

pub(in crate::transport) enum Tls {}

impl Tls {
    pub(in crate::transport) fn has_input(&self) -> bool {
        match *self {}
    }

    pub(in crate::transport) fn has_opened(&self) -> bool {
        match *self {}
    }

    pub(in crate::transport) fn has_unsent(&self) -> bool {
        match *self {}
    }

    pub(in crate::transport) fn unsent_bytes(&self) -> usize {
        match *self {}
    }

    pub(in crate::transport) fn held_bytes(&self) -> usize {
        match *self {}
    }

    pub(in crate::transport) fn receive_one(
        &mut self,
        _: Below<'_>,
        _: &mut Readiness,
        _: &mut [u8],
        _: &mut [u8],
    ) -> Result<(usize, usize), Received> {
        match *self {}
    }

    pub(in crate::transport) fn receive(
        &mut self,
        _: &mut Below<'_>,
        _: &mut Readiness,
        _: &mut [u8],
        _: usize,
        _: &mut Plain<'_>,
    ) -> Received {
        match *self {}
    }

    pub(in crate::transport) fn send(&mut self, _: &mut Below<'_>, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match *self {}
    }

    pub(in crate::transport) fn send_one(&mut self, _: Below<'_>, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(in crate::transport) fn send_unsent(&mut self, _: &mut Below<'_>) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::transport) fn take_unsent(&mut self, _: &mut Self, _: &mut Below<'_>) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::transport) fn close(&mut self, _: &mut Below<'_>) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::transport) fn session(&self) -> &Session {
        match *self {}
    }

    pub(in crate::transport) fn is_cut(&self) -> bool {
        match *self {}
    }

    pub(in crate::transport) fn is_closed(&self) -> bool {
        match *self {}
    }

    pub(in crate::transport) fn ignore_input(&mut self) {
        match *self {}
    }
}
