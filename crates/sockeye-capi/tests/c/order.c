/* A message in fragments, and other threads that write whole ones: each write is sent whole and in its order, or refused. */

#include "rules.h"

enum { THREADS = 2, MESSAGES = 200, FRAGMENTS = 5 };

static struct libwebsocket_context *context;
static struct libwebsocket *only;
static int begun, has_ended, fragmented;

static int write_frame(struct libwebsocket *wsi, char what, int kind)
{
    unsigned char room[LWS_SEND_BUFFER_PRE_PADDING + 4 + LWS_SEND_BUFFER_POST_PADDING];

    memset(room + LWS_SEND_BUFFER_PRE_PADDING, what, 4);
    return libwebsocket_write(wsi, room + LWS_SEND_BUFFER_PRE_PADDING, 4, (enum libwebsocket_write_protocol)kind);
}

static int callback_all(struct libwebsocket_context *of, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)in, (void)len;
    rules(wsi, reason, user);
    if (reason == LWS_CALLBACK_ESTABLISHED) {
        only = wsi;
        libwebsocket_callback_on_writable(of, wsi);
    }
    if (reason == LWS_CALLBACK_SERVER_WRITEABLE && (begun || !__atomic_load_n(&has_ended, __ATOMIC_ACQUIRE))) {
        int kind = begun ? LWS_WRITE_CONTINUATION : LWS_WRITE_TEXT;

        if (begun < FRAGMENTS - 1)
            kind |= LWS_WRITE_NO_FIN;
        CHECK(!write_frame(wsi, '-', kind));
        begun = (begun + 1) % FRAGMENTS;
        fragmented += begun == 0;
        libwebsocket_callback_on_writable(of, wsi);
    }
    return leave(0);
}

static struct libwebsocket_protocols protocols[] = {
    {"order", callback_all, 8, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

/* Until so many are accepted. One that comes between fragments is refused. */
static void *writer(void *number)
{
    double begin = seconds();
    int accepted = 0;

    while (accepted < MESSAGES) {
        accepted += !write_frame(only, 'a' + (char)(long)number, LWS_WRITE_TEXT);
        gave_up(begin, "accepted", __LINE__);
        sched_yield();
    }
    return NULL;
}

static void ignore(int level, const char *line)
{
    (void)level, (void)line;
}

static int received[THREADS], whole, inside;

/* One that is not where it may be is told by the program's end. */
static void look_at(const struct frame *frame)
{
    char what = frame->len ? (char)frame->data[0] : 0;

    CHECK(frame->len == 4 && (what == '-' || what == 'a' || what == 'b'));
    if (what != '-') {
        CHECK(!inside && frame->fin && frame->opcode == 1);
        received[what == 'b']++;
        return;
    }
    CHECK(frame->opcode == (inside ? 0 : 1));
    inside = !frame->fin;
    whole += frame->fin;
}

int main(void)
{
    static struct frame frame;
    int port = free_port(), fd, index;
    pthread_t threads[THREADS];

    context = server(port, protocols);
    /* What is refused is said each time. */
    lws_set_log_level(0, ignore);
    fd = peer_upgrade(port, "/", "order");
    UNTIL(only);
    for (index = 0; index < THREADS; index++)
        CHECK(!pthread_create(&threads[index], NULL, writer, (void *)(long)index));
    while (received[0] < MESSAGES || received[1] < MESSAGES || whole < MESSAGES) {
        CHECK(peer_receive(fd, &frame));
        look_at(&frame);
    }
    for (index = 0; index < THREADS; index++)
        CHECK(!pthread_join(threads[index], NULL));
    __atomic_store_n(&has_ended, 1, __ATOMIC_RELEASE);
    while (begun || whole < fragmented) {
        CHECK(peer_receive(fd, &frame));
        look_at(&frame);
    }
    say("%d of thread 0, %d of thread 1", received[0], received[1]);
    close(fd);
    UNTIL(closed == 1);
    destroy_all();
    rules_at_end();
    return finish();
}
