/* Many connections of both roles in two contexts: each gets its own answers, and its own block. */

#include "rules.h"

enum { CONNECTIONS = 100, ROUNDS = 10 };

struct session {
    int number;
    int rounds;
};

static int echoed;

static int callback_server(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context;
    rules(wsi, reason, user);
    if (reason == LWS_CALLBACK_RECEIVE)
        CHECK(libwebsocket_write(wsi, padded(in, len), len, LWS_WRITE_TEXT) == 0);
    return leave(0);
}

static int callback_client(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    static int numbers;
    struct session *session = user;
    char text[40];

    (void)len;
    rules(wsi, reason, user);
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        CHECK(!session->number);
        session->number = ++numbers;
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        snprintf(text, sizeof(text), "%d of %d", session->rounds, session->number);
        CHECK(write_text(wsi, text) == 0);
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        snprintf(text, sizeof(text), "%d of %d", session->rounds, session->number);
        CHECK(!strcmp(text, in));
        echoed++;
        if (++session->rounds == ROUNDS)
            libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
        else
            libwebsocket_callback_on_writable(context, wsi);
        break;
    default:
        break;
    }
    return leave(0);
}

static struct libwebsocket_protocols protocols[] = {
    {"many", callback_server, 100, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};
static struct libwebsocket_protocols client_protocols[] = {
    {"many", callback_client, sizeof(struct session), NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    int port = free_port(), index;
    struct libwebsocket_context *connecting;

    server(port, protocols);
    connecting = client(client_protocols);
    for (index = 0; index < CONNECTIONS; index++)
        CHECK(libwebsocket_client_connect(connecting, "127.0.0.1", port, 0, "/", "h", NULL, "many", -1) != NULL);
    UNTIL(closed == 2 * CONNECTIONS);
    say("%d echoed", echoed);
    destroy_all();
    rules_at_end();
    return finish();
}
