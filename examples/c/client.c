/*
 * A client of the protocol "echo": it sends three messages, one after the answer to the other, and closes.
 *
 *     cc client.c -o client $(pkg-config --cflags --libs libwebsockets)
 *     ./client HOST PORT
 */

#include <libwebsockets.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGES = 3 };

static int is_done, has_failed;

struct talk {
    int sent;
};

static int on_echo(struct libwebsocket_context *context, struct libwebsocket *wsi, enum libwebsocket_callback_reasons reason,
                   void *user, void *in, size_t len)
{
    struct talk *talk = user;
    unsigned char buffer[LWS_SEND_BUFFER_PRE_PADDING + 40 + LWS_SEND_BUFFER_POST_PADDING];
    char *text = (char *)buffer + LWS_SEND_BUFFER_PRE_PADDING;

    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        talk->sent++;
        return libwebsocket_write(wsi, (unsigned char *)text, (size_t)snprintf(text, 40, "message %d", talk->sent),
                                  LWS_WRITE_TEXT);
    case LWS_CALLBACK_CLIENT_RECEIVE:
        printf("%.*s\n", (int)len, (char *)in);
        if (talk->sent < MESSAGES)
            libwebsocket_callback_on_writable(context, wsi);
        else
            libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        fprintf(stderr, "no connection: %.*s\n", (int)len, in ? (char *)in : "");
        has_failed = is_done = 1;
        break;
    case LWS_CALLBACK_CLOSED:
        printf("closed\n");
        has_failed = talk->sent < MESSAGES;
        is_done = 1;
        break;
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"echo", on_echo, sizeof(struct talk), NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(int argc, char **argv)
{
    const char *host = argc > 1 ? argv[1] : "127.0.0.1";
    int port = argc > 2 ? atoi(argv[2]) : 7681;
    struct libwebsocket_context *context;

    context = libwebsocket_create_context(CONTEXT_PORT_NO_LISTEN, NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    if (!context)
        return 1;
    /* It has connected when it returns; the handshake follows in service. */
    if (!libwebsocket_client_connect(context, host, port, 0, "/", host, host, "echo", -1)) {
        fprintf(stderr, "%s:%d cannot be reached\n", host, port);
        libwebsocket_context_destroy(context);
        return 1;
    }
    while (!is_done && libwebsocket_service(context, 1000) == 0)
        ;
    libwebsocket_context_destroy(context);
    return has_failed;
}
