/*
 * A server: by the protocol "echo" it sends back what it gets, by "count" it tells each client how many there are, whenever that
 * changes, and it answers browsers with a file.
 *
 *     cc server.c -o server $(pkg-config --cflags --libs libwebsockets)
 *     ./server PORT [FILE]
 */

#include <libwebsockets.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No piece that is received is longer. */
enum { PIECE = 4096 };

static struct libwebsocket_protocols protocols[4];
static const char *file;
static int clients;
static volatile sig_atomic_t is_ending;

/* The first protocol gets all that is plain HTTP. */
static int on_http(struct libwebsocket_context *context, struct libwebsocket *wsi, enum libwebsocket_callback_reasons reason,
                   void *user, void *in, size_t len)
{
    (void)user, (void)in, (void)len;
    if (reason != LWS_CALLBACK_HTTP)
        return 0;
    /* Not 0 closes the connection. */
    return !file || libwebsockets_serve_http_file(context, wsi, file, "text/html");
}

/* Each connection has one, zeroed, for its life. What is received waits in it until it may be written. */
struct echo {
    unsigned char buffer[LWS_SEND_BUFFER_PRE_PADDING + PIECE + LWS_SEND_BUFFER_POST_PADDING];
    size_t length;
    int kind;
    int is_within; /* a message whose beginning has been sent */
};

static int on_echo(struct libwebsocket_context *context, struct libwebsocket *wsi, enum libwebsocket_callback_reasons reason,
                   void *user, void *in, size_t len)
{
    struct echo *echo = user;

    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        memcpy(echo->buffer + LWS_SEND_BUFFER_PRE_PADDING, in, len);
        echo->length = len;
        echo->kind = lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
        if (echo->is_within)
            echo->kind = LWS_WRITE_CONTINUATION;
        echo->is_within = !libwebsocket_is_final_fragment(wsi);
        if (echo->is_within)
            echo->kind |= LWS_WRITE_NO_FIN;
        /* No other piece until this one is on its way: a client that sends and does not read is not answered without end. */
        libwebsocket_rx_flow_control(wsi, 0);
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        libwebsocket_rx_flow_control(wsi, 1);
        return libwebsocket_write(wsi, echo->buffer + LWS_SEND_BUFFER_PRE_PADDING, echo->length,
                                  (enum libwebsocket_write_protocol)echo->kind);
    default:
        break;
    }
    return 0;
}

static int on_count(struct libwebsocket_context *context, struct libwebsocket *wsi, enum libwebsocket_callback_reasons reason,
                    void *user, void *in, size_t len)
{
    unsigned char buffer[LWS_SEND_BUFFER_PRE_PADDING + 20 + LWS_SEND_BUFFER_POST_PADDING];
    char *text = (char *)buffer + LWS_SEND_BUFFER_PRE_PADDING;

    (void)context, (void)user, (void)in, (void)len;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_CLOSED:
        clients += reason == LWS_CALLBACK_ESTABLISHED ? 1 : -1;
        libwebsocket_callback_on_writable_all_protocol(&protocols[2]);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return libwebsocket_write(wsi, (unsigned char *)text, (size_t)snprintf(text, 20, "%d", clients), LWS_WRITE_TEXT);
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[4] = {
    {"http-only", on_http, 0, NULL, 0, 0, 0},
    {"echo", on_echo, sizeof(struct echo), NULL, 0, 0, 0},
    {"count", on_count, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void end(int number)
{
    (void)number;
    is_ending = 1;
}

int main(int argc, char **argv)
{
    struct libwebsocket_context *context;
    int port = argc > 1 ? atoi(argv[1]) : 7681;

    file = argc > 2 ? argv[2] : NULL;
    signal(SIGINT, end);
    signal(SIGTERM, end);
    context = libwebsocket_create_context(port, NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    if (!context)
        return 1;
    printf("listening on ws://127.0.0.1:%d/\n", port);
    fflush(stdout);
    /* A signal ends the wait. */
    while (!is_ending && libwebsocket_service(context, 1000) == 0)
        ;
    libwebsocket_context_destroy(context);
    printf("ended\n");
    return 0;
}
