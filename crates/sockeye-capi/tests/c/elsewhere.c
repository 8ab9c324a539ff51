/* Calls from another thread, and a context in a child of fork. Without arguments. */

#include "common.h"

static struct libwebsocket_context *context;
static struct libwebsocket *established;
static int closes, received;
static pthread_t owner;

static int callback_all(struct libwebsocket_context *own, struct libwebsocket *wsi, enum libwebsocket_callback_reasons reason,
                        void *user, void *in, size_t len)
{
    (void)own, (void)user, (void)in, (void)len;
    if (!is_poll_reason(reason))
        CHECK(pthread_equal(pthread_self(), owner));
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        established = wsi;
        break;
    case LWS_CALLBACK_RECEIVE:
        received++;
        break;
    case LWS_CALLBACK_CLOSED:
        closes++;
        break;
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"elsewhere", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void *close_it(void *unused)
{
    (void)unused;
    libwebsocket_close_and_free_session(context, established, LWS_CLOSE_STATUS_POLICY_VIOLATION);
    return NULL;
}

/* The child may do nothing with the context but destroy it, which does not disturb the parent. */
static void destroy_in_child(void)
{
    int status = -1;
    pid_t child = fork();

    if (!child) {
        libwebsocket_context_destroy(context);
        _exit(closes);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
    struct frame frame;
    int port = free_port(), peer;
    pthread_t thread;

    owner = pthread_self();
    context = server(port, protocols);
    peer = peer_upgrade(port, "/", "elsewhere");
    UNTIL(established);

    destroy_in_child();
    peer_frame(peer, 0x81, "x", 1);
    UNTIL(received == 1);
    turns(5);
    say("after the child: %d received, %d closed", received, closes);

    CHECK(!pthread_create(&thread, NULL, close_it, NULL) && !pthread_join(thread, NULL));
    CHECK(!closes);
    CHECK(peer_receive(peer, &frame) && frame.opcode == 8 && frame.len == 2);
    say("closed from another thread: %d", frame.data[0] << 8 | frame.data[1]);
    peer_frame(peer, 0x88, frame.data, 2);
    UNTIL(closes == 1);
    say("closed: %d", closes);
    close(peer);
    return finish();
}
