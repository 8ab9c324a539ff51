//! What a product exports: functions with the names of a header, which never unwind into C.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log;

/// Runs one call of a program. A panic is a fault of this library: it is logged, and the call fails.
#[inline]
pub fn enter<R>(name: &str, failure: R, call: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        log::err!("{name} has failed inside the library, which is a fault of it; the context no longer works");
        failure
    })
}

/// Defines functions with C linkage that call functions of this crate:
/// `fn NAME(ARGUMENTS) -> RESULT = PATH, else FAILURE;`.
#[macro_export]
macro_rules! export {
    ($($(#[$about:meta])* fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? = $path:path, else $failure:expr;)*) => {
        $(
            $(#[$about])*
            ///
            /// # Safety
            /// The contract of the C header.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $kind),*) $(-> $result)? {
                $crate::enter(stringify!($name), $failure, || {
                    // SAFETY: the caller's, which is the same.
                    unsafe { $path($($argument),*) }
                })
            }
        )*
    };
}
