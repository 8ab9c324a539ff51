//! Stands for the module `files` without the feature of that name: there are no files, so nothing can be done with one.
#![expect(clippy::needless_pass_by_ref_mut, reason = "signatures are those of `files`")]

use std::io;

use crate::http::request::HttpRequest;
use crate::http::response::Response;

#[derive(Debug)]
pub(crate) enum Files {}

impl Files {
    pub(super) fn respond(&self, _: &HttpRequest<'_>, _: &str) -> Response {
        match *self {}
    }
}

#[derive(Clone, Debug)]
pub(crate) enum FileBody {}

impl FileBody {
    pub(crate) const fn remaining(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn read_at(&self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn advance(&mut self, _: usize) {
        match *self {}
    }
}
