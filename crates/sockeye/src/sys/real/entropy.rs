//! Random bytes, taken from the system a pool at a time: a client needs four new ones for each frame that it sends (RFC 6455
//! section 5.3: "The masking key needs to be unpredictable"), and a system call for each would cost more than the masking.
//!
//! What to know before editing: bytes that two processes draw from one pool are not unpredictable, so `fork` must not copy
//! it. The pool is therefore in memory of its own, which Linux clears in the child (`MADV_WIPEONFORK`), and how much of it
//! is left stands in that memory too: a child finds nothing left, and fills it anew. Elsewhere the number of the process is
//! compared at each draw.

use std::io;
use std::mem;
use std::process;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

#[cfg(test)]
mod tests;

/// The random source of one loop. The pool exists from the first small request on.
#[derive(Debug, Default)]
pub(super) struct Entropy {
    pool: Option<Pool>,
}

impl Entropy {
    /// Fills `out`. Small requests come from the pool, large ones from the system, and so does everything when there is no
    /// memory for a pool.
    #[inline]
    pub(super) fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        // Nearly all requests, so without calls to copy and to erase.
        if let (Some(pool), Some(out)) = (&mut self.pool, exactly::<KEY>(out)) {
            if let Some(key) = pool.draw_key() {
                *out = key;
                return Ok(());
            }
        }
        self.fill_slowly(out)
    }

    #[inline(never)]
    fn fill_slowly(&mut self, out: &mut [u8]) -> io::Result<()> {
        if out.len() > LARGEST_POOLED {
            return fill_from_system(out);
        }
        if self.pool.is_none() {
            self.pool = Pool::new().ok();
        }
        match &mut self.pool {
            Some(pool) => pool.draw(out),
            None => fill_from_system(out),
        }
    }
}

#[derive(Debug)]
struct Pool {
    memory: Memory,
    /// Whose pool it is, where the system does not clear it in a child.
    owner: Option<u32>,
    #[cfg(test)]
    refills: usize,
}

impl Pool {
    fn new() -> io::Result<Self> {
        let memory = Memory::new()?;
        let owner = if memory.wipe_on_fork() { None } else { Some(process::id()) };
        Ok(Self {
            memory,
            owner,
            #[cfg(test)]
            refills: 0,
        })
    }

    /// Hands out bytes that were never handed out before, and erases them.
    fn draw(&mut self, out: &mut [u8]) -> io::Result<()> {
        let contents = self.memory.contents();
        if let Some(owner) = &mut self.owner {
            let current = process::id();
            if *owner != current {
                (*owner, contents.left) = (current, 0);
            }
        }
        if contents.left < out.len() {
            // Until it worked nothing is left: half of a fill is not drawn from.
            contents.left = 0;
            fill_from_system(&mut contents.bytes)?;
            contents.left = POOL_BYTES;
            #[cfg(test)]
            {
                self.refills += 1;
            }
        }
        let rest = contents.left - out.len();
        let drawn = &mut contents.bytes[rest..contents.left];
        out.copy_from_slice(drawn);
        // Memory that the system mapped is not the compiler's to reason about: this store is not left out.
        drawn.fill(0);
        contents.left = rest;
        Ok(())
    }

    /// As [`draw`](Self::draw), for one key; none if that takes more than to look.
    #[inline]
    fn draw_key(&mut self) -> Option<[u8; KEY]> {
        if self.owner.is_some() {
            return None;
        }
        let contents = self.memory.contents();
        let rest = contents.left.checked_sub(KEY)?;
        let key = mem::take(contents.bytes.get_mut(rest..)?.first_chunk_mut::<KEY>()?);
        contents.left = rest;
        Some(key)
    }
}

/// What is in the memory. All zeros are a value of it: nothing is left.
#[repr(C)]
struct Contents {
    /// `bytes[..left]` were not handed out yet; `left <= POOL_BYTES`.
    left: usize,
    bytes: [u8; POOL_BYTES],
}

/// Pages of the system that hold one [`Contents`] and nothing else.
#[derive(Debug)]
struct Memory(NonNull<Contents>);

impl Memory {
    fn new() -> io::Result<Self> {
        let (readable, private) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a null address asks for memory at a free address, so no memory in use is replaced.
        let address = unsafe { mmap_anonymous(ptr::null_mut(), size_of::<Contents>(), readable, private)? };
        NonNull::new(address.cast()).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Has the system clear it in children; false where it cannot (Linux before 4.14, other systems).
    #[cfg(target_os = "linux")]
    fn wipe_on_fork(&self) -> bool {
        use rustix::mm::{Advice, madvise};
        // SAFETY: these pages are ours as a whole. The advice changes nothing in this process, and in a child it makes them
        // zeros, which are valid contents.
        unsafe { madvise(self.0.as_ptr().cast(), size_of::<Contents>(), Advice::LinuxWipeOnFork).is_ok() }
    }

    #[cfg(not(target_os = "linux"))]
    fn wipe_on_fork(&self) -> bool {
        false
    }

    fn contents(&mut self) -> &mut Contents {
        // SAFETY: `new` mapped that much, at the beginning of a page and thus aligned, readable and writable, and only
        // `drop` unmaps it. The system made it zeros, which are a valid value. No other code knows the address, and `self` is
        // borrowed for as long as the reference lives. `fork` copies only the thread that calls it, so no child clears it
        // under a reference in use.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this, and no reference to it outlives `self`. Should it fail, the memory stays mapped.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<Contents>()) };
    }
}

// SAFETY: it owns its memory alone, which any thread may use; only `&mut self` touches the contents.
unsafe impl Send for Memory {}

fn exactly<const N: usize>(bytes: &mut [u8]) -> Option<&mut [u8; N]> {
    bytes.try_into().ok()
}

fn fill_from_system(out: &mut [u8]) -> io::Result<()> {
    getrandom::fill(out).map_err(io::Error::other)
}

/// Bytes of a masking key.
const KEY: usize = 4;

/// Keys of 1,024 frames.
const POOL_BYTES: usize = 1024 * KEY;

/// Above this the system call is small beside what it gives.
const LARGEST_POOLED: usize = 64;
