/* Messages of many fragments from the server, one in each WRITEABLE; the client checks their sums. */

#include "rules.h"

enum { MESSAGES = 4 };

struct session {
    int left;
    unsigned sum;
    size_t length;
};

static int sent, right, fragments, received_fragments;

static int callback_server(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    struct session *session = user;
    unsigned char buffer[18 + 2000 + 4];
    int kind, count, index;

    (void)in, (void)len;
    rules(wsi, reason, user);
    if (reason == LWS_CALLBACK_ESTABLISHED)
        libwebsocket_callback_on_writable(context, wsi);
    if (reason != LWS_CALLBACK_SERVER_WRITEABLE || sent == MESSAGES)
        return leave(0);
    kind = session->left ? LWS_WRITE_CONTINUATION : LWS_WRITE_BINARY;
    if (!session->left) {
        session->left = 1 + (int)(random() % 300);
        session->sum = 0;
    }
    if (session->left == 1) {
        /* The last one is the sum. */
        buffer[18] = (unsigned char)(session->sum >> 24);
        buffer[19] = (unsigned char)(session->sum >> 16);
        buffer[20] = (unsigned char)(session->sum >> 8);
        buffer[21] = (unsigned char)session->sum;
        CHECK(libwebsocket_write(wsi, buffer + 18, 4, (enum libwebsocket_write_protocol)kind) == 0);
        session->left = 0;
        sent++;
    } else {
        count = 1 + (int)(random() % 2000);
        CHECK(libwebsockets_get_random(context, buffer + 18, count) == count);
        for (index = 0; index < count; index++)
            session->sum += buffer[18 + index];
        CHECK(libwebsocket_write(wsi, buffer + 18, (size_t)count, (enum libwebsocket_write_protocol)(kind | LWS_WRITE_NO_FIN)) ==
              0);
        session->left--;
    }
    fragments++;
    CHECK(libwebsocket_callback_on_writable(context, wsi) == 1);
    return leave(0);
}

static int callback_client(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    struct session *session = user;
    const unsigned char *bytes = in;
    size_t index;

    rules(wsi, reason, user);
    if (reason != LWS_CALLBACK_CLIENT_RECEIVE)
        return leave(0);
    received_fragments++;
    if (libwebsocket_is_final_fragment(wsi)) {
        unsigned sum = (unsigned)bytes[0] << 24 | (unsigned)bytes[1] << 16 | (unsigned)bytes[2] << 8 | bytes[3];

        CHECK(len == 4 && libwebsockets_remaining_packet_payload(wsi) == 0);
        right += sum == session->sum;
        say("message of %zu bytes in %d fragments: %s", session->length, received_fragments,
            sum == session->sum ? "right" : "WRONG");
        memset(session, 0, sizeof(*session));
        received_fragments = 0;
        if (right == MESSAGES)
            libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
        return leave(0);
    }
    for (index = 0; index < len; index++)
        session->sum += bytes[index];
    session->length += len;
    return leave(0);
}

static struct libwebsocket_protocols protocols[] = {
    {"fraggle", callback_server, sizeof(struct session), NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};
static struct libwebsocket_protocols client_protocols[] = {
    {"fraggle", callback_client, sizeof(struct session), NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    int port = free_port();

    server(port, protocols);
    CHECK(libwebsocket_client_connect(client(client_protocols), "127.0.0.1", port, 0, "/", "h", "origin", "fraggle", -1) != NULL);
    UNTIL(closed == 2);
    destroy_all();
    rules_at_end();
    return finish();
}
