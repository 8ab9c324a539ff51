/* Both roles in one poll loop of the program. */

#include "poll_loop.h"

static int echoed, closes, opened;

static int callback_first(struct libwebsocket_context *context, struct libwebsocket *wsi,
                          enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    if (poll_reason(reason, user, len))
        return 0;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        opened++;
        CHECK(place[libwebsocket_get_socket_fd(wsi)] != 0);
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        CHECK(write_text(wsi, "there and back") == 0);
        break;
    case LWS_CALLBACK_RECEIVE:
        CHECK(libwebsocket_write(wsi, padded(in, len), len, LWS_WRITE_TEXT) == 0);
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        CHECK(len == 14 && !memcmp(in, "there and back", 14));
        if (++echoed % 10 == 0)
            libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
        else
            libwebsocket_callback_on_writable(context, wsi);
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
    {"first", callback_first, 16, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    int port = free_port(), index;
    struct libwebsocket_context *context;

    lws_set_log_level(LLL_ERR, quiet);
    context = libwebsocket_create_context(port, NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    CHECK(context != NULL);
    for (index = 1; index <= 3; index++) {
        struct libwebsocket *wsi = libwebsocket_client_connect(context, "127.0.0.1", port, 0, "/", "h", "o", "first", -1);

        CHECK(wsi != NULL);
        CHECK(fcntl(libwebsocket_get_socket_fd(wsi), F_GETFD) >= 0);
        POLL_UNTIL(context, closes == 2 * index);
        say("%d echoed, %d ends closed", echoed, closes);
    }
    libwebsocket_context_destroy(context);
    CHECK(table_adds == table_deletes && table_count == 0 && opened == 3);
    return finish();
}
