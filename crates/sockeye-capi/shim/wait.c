/*
 * A turn of the loop, for both interfaces. The wait is here: a thread that is cancelled in it unwinds C frames only. It cannot be
 * cancelled while Rust runs, nor in the callbacks that run below that.
 */

#include "shim.h"

#include <errno.h>
#include <pthread.h>

int sockeye_service(void *context, int timeout_ms)
{
    struct pollfd fds[2];
    int count = 0, state, polled, result;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    timeout_ms = sockeye_wait_begin(context, timeout_ms, fds, &count);
    if (timeout_ms < -1) {
        pthread_setcancelstate(state, NULL);
        return count;
    }
    pthread_setcancelstate(state, NULL);
    polled = poll(fds, (nfds_t)count, timeout_ms);
    if (polled < 0)
        polled = -errno;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    result = sockeye_wait_end(context, polled);
    pthread_setcancelstate(state, NULL);
    return result;
}
