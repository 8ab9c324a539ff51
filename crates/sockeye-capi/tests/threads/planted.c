/* A race that the library must be seen in: a thread changes the bytes that another has it write. Ends with 0 if nobody watches. */

#include "../c/common.h"

enum { ROUNDS = 200 };

static struct libwebsocket *only;
static unsigned char shared[LWS_SEND_BUFFER_PRE_PADDING + 8 + LWS_SEND_BUFFER_POST_PADDING];

static int callback_all(struct libwebsocket_context *of, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)of, (void)user, (void)in, (void)len;
    if (reason == LWS_CALLBACK_ESTABLISHED)
        only = wsi;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"planted", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void *writer(void *unused)
{
    int index;

    for (index = 0; index < ROUNDS; index++)
        libwebsocket_write(only, shared + LWS_SEND_BUFFER_PRE_PADDING, 8, LWS_WRITE_BINARY);
    return unused;
}

static void *changer(void *unused)
{
    int index;

    for (index = 0; index < ROUNDS; index++)
        shared[LWS_SEND_BUFFER_PRE_PADDING + index % 8]++;
    return unused;
}

int main(void)
{
    static struct frame frame;
    int port = free_port(), fd, index;
    pthread_t threads[2];

    server(port, protocols);
    fd = peer_upgrade(port, "/", "planted");
    UNTIL(only);
    CHECK(!pthread_create(&threads[0], NULL, writer, NULL) && !pthread_create(&threads[1], NULL, changer, NULL));
    for (index = 0; index < ROUNDS; index++)
        CHECK(peer_receive(fd, &frame));
    CHECK(!pthread_join(threads[0], NULL) && !pthread_join(threads[1], NULL));
    close(fd);
    return finish();
}
