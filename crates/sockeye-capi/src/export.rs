//! What a product exports: functions with the names of a header, which never unwind into C.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log;

/// Runs one call of a program. A panic is a fault of this library: it is logged, and the call fails.
#[inline]
pub fn enter<R>(name: &'static str, failure: R, call: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        failed(name, panic);
        failure
    })
}

/// Not inlined, so that calls that do not fail stay short.
#[cold]
#[inline(never)]
fn failed(name: &'static str, panic: Box<dyn Any + Send>) {
    drop(panic);
    log::err!("{name} has failed inside the library, which is a fault of it; the context no longer works");
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

#[cfg(test)]
mod tests {
    use std::ffi::{c_int, c_void};
    use std::ptr;

    use super::enter;
    use crate::context::Context;
    use crate::face13::calls;
    use crate::turn::{Turn, Work};

    extern "C" fn callback(
        _: *mut Context,
        _: *mut c_void,
        _: c_int,
        _: *mut c_void,
        _: *mut c_void,
        _: usize,
    ) -> c_int {
        0
    }

    fn context() -> &'static Context {
        // Two entries of a table: a callback, and the end.
        let mut table = [0_usize; 12];
        table[1] = (callback as *const c_void).expose_provenance();
        let table = Vec::leak(table.to_vec()).as_mut_ptr().cast();
        let null = ptr::null();
        // SAFETY: a table of the header, which stays.
        let context = unsafe {
            calls::create_context(0, null, table, ptr::null_mut(), null, null, null, -1, -1, 0, ptr::null_mut())
        };
        Context::find(context).expect("a context")
    }

    #[test]
    fn a_panic_fails_the_call_and_ends_the_context_and_not_the_program() {
        let (broken, whole) = (context(), context());
        assert_eq!(broken.turn(Work::Any), Turn::Done);
        let panics = || broken.act_now(|_| -> c_int { panic!("on purpose") }).unwrap_or_default();
        assert_eq!(enter("a call", -1, panics), -1);
        assert_ne!(broken.turn(Work::Any), Turn::Done);
        assert_eq!(enter("a call", -1, || 3), 3);
        assert_eq!(whole.turn(Work::Any), Turn::Done);
        whole.end();
        broken.end();
    }
}
