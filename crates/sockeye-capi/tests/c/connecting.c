/* Connections that another thread makes while one serves: they are made, and their callbacks come from the one that serves. */

#include "rules.h"

enum { CONNECTIONS = 20 };

static struct libwebsocket_context *listening, *calling;
static pthread_t owner;
static int is_over, refused, texts;

static int callback_all(struct libwebsocket_context *of, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    /* A connect asks for header lines where it is called: that is no callback of the thread that serves. */
    if (reason == LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER) {
        CHECK(!pthread_equal(pthread_self(), owner));
        return 0;
    }
    rules(wsi, reason, user);
    CHECK(pthread_equal(pthread_self(), owner));
    if (reason == LWS_CALLBACK_CLIENT_ESTABLISHED)
        libwebsocket_callback_on_writable(of, wsi);
    if (reason == LWS_CALLBACK_CLIENT_WRITEABLE)
        CHECK(!write_text(wsi, "text"));
    if (reason == LWS_CALLBACK_RECEIVE) {
        CHECK(len == 4 && !memcmp(in, "text", 4));
        texts++;
    }
    return leave(0);
}

static struct libwebsocket_protocols protocols[] = {
    {"connecting", callback_all, 8, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static struct libwebsocket_protocols same_protocols[] = {
    {"connecting", callback_all, 8, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void *connect_all(void *port)
{
    int index;

    for (index = 0; index < CONNECTIONS; index++)
        if (!libwebsocket_client_connect(calling, "127.0.0.1", *(int *)port, 0, "/", "localhost", NULL, "connecting", -1))
            refused++;
    __atomic_store_n(&is_over, 1, __ATOMIC_RELEASE);
    return NULL;
}

int main(void)
{
    int port = free_port();
    pthread_t thread;

    owner = pthread_self();
    listening = server(port, protocols);
    calling = client(same_protocols);
    CHECK(listening && calling);
    CHECK(!pthread_create(&thread, NULL, connect_all, &port));
    UNTIL(__atomic_load_n(&is_over, __ATOMIC_ACQUIRE));
    CHECK(!pthread_join(thread, NULL));
    UNTIL(texts == CONNECTIONS - refused);
    say("%d refused, %d texts", refused, texts);
    destroy_all();
    rules_at_end();
    return finish();
}
