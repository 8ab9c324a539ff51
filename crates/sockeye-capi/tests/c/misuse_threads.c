/* Threads that are not the one that serves: what they call is done or refused, and nothing is torn. */

#include "rules.h"

enum { THREADS = 3, MESSAGES = 200 };

static struct libwebsocket_context *context;
static struct libwebsocket *only;
static pthread_t owner;
static int writeables;

static int callback_all(struct libwebsocket_context *of, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)of, (void)in, (void)len;
    rules(wsi, reason, user);
    CHECK(pthread_equal(pthread_self(), owner));
    if (reason == LWS_CALLBACK_ESTABLISHED)
        only = wsi;
    writeables += reason == LWS_CALLBACK_SERVER_WRITEABLE;
    return leave(0);
}

static struct libwebsocket_protocols protocols[] = {
    {"threads", callback_all, 8, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void *writer(void *number)
{
    int index;

    for (index = 0; index < MESSAGES; index++) {
        unsigned char buffer[18 + 8 + 4];

        memset(buffer + 18, 'a' + (int)(long)number, 8);
        if (libwebsocket_write(only, buffer + 18, 8, LWS_WRITE_TEXT))
            return (void *)1L;
        libwebsocket_callback_on_writable(context, only);
        libwebsocket_callback_on_writable_all_protocol(protocols);
        lws_send_pipe_choked(only);
        libwebsocket_rx_flow_control(only, 1);
        libwebsocket_get_socket_fd(only);
        libwebsockets_get_protocol(only);
    }
    return NULL;
}

int main(void)
{
    static struct frame frame;
    int port = free_port(), fd, counts[THREADS] = {0}, index, wrong = 0, was_writeable = 0;
    pthread_t threads[THREADS];

    owner = pthread_self();
    context = server(port, protocols);
    fd = peer_upgrade(port, "/", "threads");
    UNTIL(only);
    for (index = 0; index < THREADS; index++)
        CHECK(!pthread_create(&threads[index], NULL, writer, (void *)(long)index));
    for (index = 0; index < THREADS * MESSAGES && peer_receive(fd, &frame); index++) {
        int who = frame.data[0] - 'a', at;

        wrong += frame.len != 8 || who < 0 || who >= THREADS;
        for (at = 1; at < 8; at++)
            wrong += frame.data[at] != frame.data[0];
        counts[who % THREADS]++;
    }
    for (index = 0; index < THREADS; index++) {
        void *result;

        CHECK(!pthread_join(threads[index], &result) && !result);
        say("from thread %d: %d", index, counts[index]);
    }
    UNTIL(writeables);
    was_writeable = writeables;
    say("%d wrong, %s", wrong, was_writeable ? "wishes were served" : "no wish was served");
    close(fd);
    UNTIL(closed == 1);
    destroy_all();
    rules_at_end();
    return finish();
}
