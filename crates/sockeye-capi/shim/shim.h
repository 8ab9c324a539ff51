/*
 * What the C side and the Rust side of the library have of each other.
 *
 * C is used for three things that Rust cannot do: functions with a variable number of arguments, waiting in a way that a thread
 * can be cancelled (cancelling unwinds the stack, and may not pass a Rust frame), and going on after fork.
 */

#ifndef SOCKEYE_SHIM_H
#define SOCKEYE_SHIM_H

#include <poll.h>
#include <stddef.h>

/* Values of the levels that are used here; the same in both interfaces. */
enum { LEVEL_ERR = 1, LEVEL_WARN = 2, LEVEL_NOTICE = 4, LEVEL_INFO = 8, LEVEL_DEBUG = 16 };

/*
 * Rust.
 */

/* Whether a line of this level has a reader. */
int sockeye_log_wanted(int level);

/* Hands a line to the sink. */
void sockeye_log_line(int level, const char *text);

/* Who gets lines as long as the program has named nobody. In the library of 4.1.6 only. */
void sockeye_log_default(void (*sink)(int level, const char *text));

/* How many contexts there are. */
int sockeye_contexts(void);

/*
 * Begins a turn. Returns how many milliseconds to wait on `fds` (two at most; `*count` says how many), -1 without end. Less: do
 * not wait, and return `*count`.
 *
 * A thread that is cancelled while it waits never calls sockeye_wait_end.
 */
int sockeye_wait_begin(void *context, int timeout_ms, struct pollfd fds[2], int *count);

/* Does what the turn has to do. `polled`: what poll returned, or its errno as a negative number. */
int sockeye_wait_end(void *context, int polled);

/*
 * C.
 */

int sockeye_service(void *context, int timeout_ms);

void _lws_log(int filter, const char *format, ...);

/* Ends the process: a function of the list of those that only stand there was called. In the library of 4.1.6 only. */
void sockeye_unimplemented(const char *name) __attribute__((noreturn));

#endif
