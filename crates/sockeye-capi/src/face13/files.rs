//! Files as answers.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

use sockeye::http::Response;

use crate::caller;
use crate::context::Context;
use crate::log;
use crate::regular;
use crate::texts::kept;
use crate::wsi::{Answer, Phase, Wsi};

use super::connection;

/// Answers the request with a file. Returns 0, or 1 if that cannot be: then the answer says so.
///
/// # Safety
/// As the header has it: texts that NULs end, or null.
pub unsafe fn serve_http_file(
    _: *mut Context,
    wsi: *mut Wsi,
    file: *const c_char,
    content_type: *const c_char,
) -> c_int {
    // SAFETY: the caller's.
    let (file, content_type) = unsafe { (caller::text(file), caller::utf8(content_type)) };
    let (Some(wsi), Some(file)) = (connection(wsi).filter(|wsi| wsi.is(Phase::Http)), file) else {
        log::err!("a file is the answer to a request, which this is not");
        return -1;
    };
    let (answer, result) = match answer_of(file, content_type.unwrap_or("application/octet-stream")) {
        Ok(answer) => (answer, 0),
        Err(error) => {
            // Peers choose what they ask for, and how often.
            log::info!("{}: {error}", file.to_string_lossy());
            (Answer { response: Response::error(404), file: None }, 1)
        }
    };
    let mut rest = wsi.rest();
    if rest.answer.is_some() {
        log::err!("the request has an answer already");
        return -1;
    }
    rest.answer = Some(answer);
    result
}

fn answer_of(path: &CStr, media_type: &str) -> std::io::Result<Answer> {
    let (file, metadata) = regular::open(OsStr::from_bytes(path.to_bytes()).as_ref())?;
    let response = Response::file(kept(media_type), file)?;
    Ok(Answer { response, file: Some((path.to_owned(), metadata.len())) })
}

/// Goes on with a file: the library does that itself.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn serve_http_file_fragment(_: *mut Context, wsi: *mut Wsi) -> c_int {
    if connection(wsi).is_some() { 0 } else { -1 }
}
