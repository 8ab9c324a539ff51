/*
 * What ThreadSanitizer does not see of Rust's standard library, which is compiled without it: the way of a lock that another thread has,
 * and the fence before the last owner of an `Arc` ends what it owns. The linker puts these functions in the place of the library's
 * (`--wrap`), by names that `cargo xtask capi threads` finds in the archive; what an archive has no use for is not there. The ways that
 * are taken mostly are inline, and seen.
 *
 * Each tells no more than the original has done, so it hides no race: `known.rs` has some that must be found.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define JOINED(prefix, name) prefix##name
#define WRAP(name) JOINED(__wrap_, name)
#define REAL(name) JOINED(__real_, name)

/* The unlocking that it has read of is inline, a release of the same address. */
#ifdef MUTEX_LOCK
void REAL(MUTEX_LOCK)(void *mutex);
void WRAP(MUTEX_LOCK)(void *mutex)
{
    REAL(MUTEX_LOCK)(mutex);
    __tsan_acquire(mutex);
}
#endif

#ifdef RWLOCK_READ
void REAL(RWLOCK_READ)(void *lock);
void WRAP(RWLOCK_READ)(void *lock)
{
    REAL(RWLOCK_READ)(lock);
    __tsan_acquire(lock);
}
#endif

#ifdef RWLOCK_WRITE
void REAL(RWLOCK_WRITE)(void *lock);
void WRAP(RWLOCK_WRITE)(void *lock)
{
    REAL(RWLOCK_WRITE)(lock);
    __tsan_acquire(lock);
}
#endif

/* It unlocks and locks, both unseen. */
#ifdef CONDVAR_WAIT
void REAL(CONDVAR_WAIT)(void *condvar, void *mutex);
void WRAP(CONDVAR_WAIT)(void *condvar, void *mutex)
{
    __tsan_release(mutex);
    REAL(CONDVAR_WAIT)(condvar, mutex);
    __tsan_acquire(mutex);
}
#endif

/*
 * An `Arc` counts down with a release, and the last one fences. ThreadSanitizer knows no fences. "An atomic operation A that is a
 * release operation on an atomic object M synchronizes with an acquire fence B if there exists some atomic operation X on M such that X
 * is sequenced before B and reads the value written by A" (C11 section 7.17.4): X is the last counting down of this thread.
 */
enum { RELAXED, CONSUME, ACQUIRE, RELEASE };

static __thread void *counted_down;

uint64_t REAL(__tsan_atomic64_fetch_sub)(volatile uint64_t *count, uint64_t less, int order);
uint64_t WRAP(__tsan_atomic64_fetch_sub)(volatile uint64_t *count, uint64_t less, int order)
{
    uint64_t before = REAL(__tsan_atomic64_fetch_sub)(count, less, order);

    if (order == RELEASE && before == 1)
        counted_down = (void *)count;
    return before;
}

void REAL(__tsan_atomic_thread_fence)(int order);
void WRAP(__tsan_atomic_thread_fence)(int order)
{
    REAL(__tsan_atomic_thread_fence)(order);
    if (order != RELAXED && order != RELEASE && counted_down)
        __tsan_acquire(counted_down);
    counted_down = NULL;
}

/* LLVM's own names of these, which gcc's runtime of ThreadSanitizer does not have. It watches those of C. */
void *__tsan_memcpy(void *to, const void *from, size_t len);
void *__tsan_memmove(void *to, const void *from, size_t len);
void *__tsan_memset(void *to, int value, size_t len);

void *__tsan_memcpy(void *to, const void *from, size_t len)
{
    return memcpy(to, from, len);
}

void *__tsan_memmove(void *to, const void *from, size_t len)
{
    return memmove(to, from, len);
}

void *__tsan_memset(void *to, int value, size_t len)
{
    return memset(to, value, len);
}
