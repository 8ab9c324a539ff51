/* A thread that serves is cancelled: in the wait, and in a callback, where it goes on until it is back in the wait. */

#include "common.h"

static struct libwebsocket_context *context;
static pthread_barrier_t inside;
static int blocks, has_ended_callback, is_open, closes;

static int callback_all(struct libwebsocket_context *of, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)of, (void)wsi, (void)user, (void)in, (void)len;
    is_open |= reason == LWS_CALLBACK_ESTABLISHED;
    closes += reason == LWS_CALLBACK_CLOSED;
    if (reason == LWS_CALLBACK_RECEIVE && blocks) {
        pthread_barrier_wait(&inside);
        /* A place where a thread may be cancelled. */
        usleep(300000);
        has_ended_callback = 1;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"cancelling", callback_all, 8, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void *serve_on(void *unused)
{
    (void)unused;
    for (;;)
        libwebsocket_service(context, 10000);
    return NULL;
}

int main(void)
{
    int port = free_port(), fd;
    pthread_t thread;
    void *result;

    pthread_barrier_init(&inside, NULL, 2);
    context = server(port, protocols);
    fd = peer_upgrade(port, "/", "cancelling");
    UNTIL(is_open);

    CHECK(!pthread_create(&thread, NULL, serve_on, NULL));
    usleep(200000);
    CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result));
    CHECK(result == PTHREAD_CANCELED);
    say("cancelled in the wait");

    blocks = 1;
    CHECK(!pthread_create(&thread, NULL, serve_on, NULL));
    peer_frame(fd, 0x81, "x", 1);
    pthread_barrier_wait(&inside);
    CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result));
    CHECK(result == PTHREAD_CANCELED && has_ended_callback);
    say("cancelled in a callback, which has ended");

    /* The context is as good as before. */
    blocks = 0;
    close(fd);
    UNTIL(closes == 1);
    pthread_barrier_destroy(&inside);
    return finish();
}
