//! Reading the head of a request by tokens and names.

use std::borrow::Cow;
use std::ffi::{c_char, c_int};
use std::ptr;

use crate::caller;
use crate::heads::Head;
use crate::wsi::Wsi;

use super::helpers::{signed, unsigned};
use super::tokens::{Token, token};
use super::{args, connection};

/// The text of a token: `None` if the request has none.
fn whole(head: &Head, number: c_int) -> Option<Vec<u8>> {
    let text = match token(number)? {
        Token::Path(method) => return (head.method == method).then(|| head.path.clone()),
        Token::Field(name) => return head.value(name.as_bytes()),
        Token::Arguments => args::joined(&head.query),
        Token::Version => b"HTTP/1.1".to_vec(),
        Token::Nothing => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The n-th line of a token, or argument of the URL.
fn fragment(head: &Head, number: c_int, index: usize) -> Option<Vec<u8>> {
    match token(number)? {
        Token::Field(name) => head.lines(name.as_bytes()).nth(index).map(<[u8]>::to_vec),
        Token::Arguments => args::pieces(&head.query).nth(index),
        _ => whole(head, number).filter(|_| index == 0),
    }
}

/// A field by its name, in lower case, with its colon. Those that have tokens are not asked for so.
fn custom(head: &Head, name: &[u8]) -> Option<Vec<u8>> {
    let name = name.strip_suffix(b":")?;
    let has_token = (0..).map_while(token).any(|token| matches!(token, Token::Field(own) if own.as_bytes() == name));
    if has_token { None } else { head.value(name) }
}

fn of_head(wsi: *mut Wsi, find: impl FnOnce(&Head) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let wsi = connection(wsi)?;
    let rest = wsi.rest();
    find(rest.head.as_ref()?)
}

/// Copies a text with its NUL, if all of it fits: its length, or -1.
///
/// # Safety
/// There are `size` bytes.
unsafe fn copy(to: *mut c_char, size: c_int, text: &[u8]) -> c_int {
    if to.is_null() || unsigned(size) <= text.len() {
        return -1;
    }
    // SAFETY: the caller's.
    unsafe { caller::put(to, text.len() + 1, text) };
    signed(text.len())
}

/// `lws_hdr_total_length`.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn total_length(wsi: *mut Wsi, number: c_int) -> c_int {
    of_head(wsi, |head| whole(head, number)).map_or(0, |text| signed(text.len()))
}

/// `lws_hdr_fragment_length`.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn fragment_length(wsi: *mut Wsi, number: c_int, index: c_int) -> c_int {
    of_head(wsi, |head| fragment(head, number, unsigned(index))).map_or(0, |text| signed(text.len()))
}

/// `lws_hdr_copy`: an empty text if the field is absent.
///
/// # Safety
/// There are `size` bytes.
pub unsafe fn hdr_copy(wsi: *mut Wsi, to: *mut c_char, size: c_int, number: c_int) -> c_int {
    let text = of_head(wsi, |head| whole(head, number)).unwrap_or_default();
    // SAFETY: the caller's.
    unsafe { copy(to, size, &text) }
}

/// `lws_hdr_copy_fragment`: -1 if it is absent.
///
/// # Safety
/// There are `size` bytes.
pub unsafe fn hdr_copy_fragment(wsi: *mut Wsi, to: *mut c_char, size: c_int, number: c_int, index: c_int) -> c_int {
    let text = of_head(wsi, |head| fragment(head, number, unsigned(index)));
    // SAFETY: the caller's.
    text.map_or(-1, |text| unsafe { copy(to, size, &text) })
}

/// `lws_hdr_custom_length`: -1 if it is absent.
///
/// # Safety
/// There are `length` bytes.
pub unsafe fn custom_length(wsi: *mut Wsi, name: *const c_char, length: c_int) -> c_int {
    // SAFETY: the caller's.
    let Some(name) = (unsafe { caller::bytes(name.cast(), unsigned(length)) }) else { return -1 };
    of_head(wsi, |head| custom(head, name)).map_or(-1, |text| signed(text.len()))
}

/// `lws_hdr_custom_copy`: -1 if it is absent.
///
/// # Safety
/// There are so many bytes.
pub unsafe fn custom_copy(wsi: *mut Wsi, to: *mut c_char, size: c_int, name: *const c_char, length: c_int) -> c_int {
    // SAFETY: the caller's.
    let Some(name) = (unsafe { caller::bytes(name.cast(), unsigned(length)) }) else { return -1 };
    let text = of_head(wsi, |head| custom(head, name));
    // SAFETY: the caller's.
    text.map_or(-1, |text| unsafe { copy(to, size, &text) })
}

/// `lws_get_urlarg_by_name`: the value in the program's buffer, or null.
///
/// # Safety
/// There are `size` bytes, and a text that a NUL ends.
pub unsafe fn urlarg(wsi: *mut Wsi, name: *const c_char, to: *mut c_char, size: c_int) -> *const c_char {
    // SAFETY: the caller's.
    let Some(name) = (unsafe { caller::text(name) }) else { return ptr::null() };
    let name = Cow::Borrowed(name.to_bytes());
    let Some(text) = of_head(wsi, |head| args::value(&head.query, &name)) else { return ptr::null() };
    // SAFETY: the caller's.
    if unsafe { copy(to, size, &text) } < 0 { ptr::null() } else { to }
}
