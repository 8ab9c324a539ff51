/*
 * A thread that serves is cancelled: in the wait, and in a callback, where it goes on until it is back in the wait. One that does not
 * serve is, too: not in its calls.
 */

#include "common.h"

static struct libwebsocket_context *context;
static pthread_barrier_t inside;
static struct libwebsocket *opened;
static int blocks, has_ended_callback, is_open, closes, has_called, peers_port;

static int callback_all(struct libwebsocket_context *of, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)of, (void)user, (void)in, (void)len;
    if (reason == LWS_CALLBACK_ESTABLISHED && !is_open++)
        opened = wsi;
    closes += reason == LWS_CALLBACK_CLOSED && wsi == opened;
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

/* Its cancellation is due before it calls anything. */
static void *call_on(void *unused)
{
    static struct libwebsocket_protocols own[] = {{"own", callback_all, 8, NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}};
    struct libwebsocket_context *made;

    (void)unused;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_barrier_wait(&inside);
    pthread_barrier_wait(&inside);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    libwebsocket_callback_on_writable(context, opened);
    write_text(opened, "from another thread");
    libwebsocket_rx_flow_control(opened, 1);
    made = libwebsocket_create_context(0, NULL, own, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    libwebsocket_client_connect(made, "127.0.0.1", peers_port, 0, "/", "h", "o", "own", -1);
    libwebsocket_context_destroy(made);
    has_called = 1;
    pthread_testcancel();
    return NULL;
}

int main(void)
{
    int port = free_port(), fd;
    pthread_t thread, other;
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

    blocks = 0;
    peers_port = port;
    CHECK(!pthread_create(&thread, NULL, serve_on, NULL));
    usleep(200000);
    CHECK(!pthread_create(&other, NULL, call_on, NULL));
    pthread_barrier_wait(&inside);
    CHECK(!pthread_cancel(other));
    pthread_barrier_wait(&inside);
    CHECK(!pthread_join(other, &result) && result == PTHREAD_CANCELED && has_called);
    CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result));
    say("cancelled between calls, and in none");

    /* The context is as good as before. */
    close(fd);
    UNTIL(closes == 1);
    pthread_barrier_destroy(&inside);
    return finish();
}
