/*
 * A client that calls the library as programs of 2013 do: one connection to the counter for its whole life, and one after the other to the
 * mirror, opened in the loop as soon as there is none, and closed from main after so many returns of service.
 *
 *     client HOST PORT
 */

#include "libwebsockets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_closed, mirror_lifetime, mirrors;
static struct libwebsocket *wsi_mirror;

static int callback_counter(struct libwebsocket_context *context, struct libwebsocket *wsi,
                            enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        fprintf(stderr, "established\n");
        break;
    case LWS_CALLBACK_CLOSED:
        fprintf(stderr, "closed\n");
        is_closed = 1;
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        is_closed = 1;
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        ((char *)in)[len] = '\0';
        printf("%d '%s'\n", (int)len, (char *)in);
        break;
    case LWS_CALLBACK_CLIENT_CONFIRM_EXTENSION_SUPPORTED:
        if (!strcmp(in, "deflate-stream"))
            return 1;
        break;
    default:
        break;
    }
    return 0;
}

static int callback_mirror(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    unsigned char buffer[LWS_SEND_BUFFER_PRE_PADDING + 4096 + LWS_SEND_BUFFER_POST_PADDING];
    int count;

    (void)user, (void)in, (void)len;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        mirrors++;
        mirror_lifetime = 10 + (int)(random() & 31);
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_CLOSED:
        wsi_mirror = NULL;
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        count = sprintf((char *)&buffer[LWS_SEND_BUFFER_PRE_PADDING], "c #%06X %d %d %d;", (int)random() & 0xffffff,
                        (int)random() % 500, (int)random() % 250, (int)random() % 24);
        libwebsocket_write(wsi, &buffer[LWS_SEND_BUFFER_PRE_PADDING], (size_t)count, LWS_WRITE_TEXT);
        /* Without a look at what that returned, each time. */
        libwebsocket_callback_on_writable(context, wsi);
        usleep(200);
        break;
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"counter", callback_counter, 0, NULL, 0, 0, 0},
    {"mirror", callback_mirror, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(int argc, char **argv)
{
    struct libwebsocket_context *context;
    struct libwebsocket *wsi;
    int status = 0, port;

    if (argc < 3)
        return 1;
    port = atoi(argv[2]);
    context = libwebsocket_create_context(CONTEXT_PORT_NO_LISTEN, NULL, protocols, libwebsocket_internal_extensions, NULL, NULL, NULL,
                                          -1, -1, 0, NULL);
    if (context == NULL)
        return 1;
    wsi = libwebsocket_client_connect(context, argv[1], port, 0, "/", argv[1], argv[1], protocols[0].name, -1);
    if (wsi == NULL) {
        fprintf(stderr, "connect failed\n");
        libwebsocket_context_destroy(context);
        return -1;
    }
    while (status >= 0 && !is_closed) {
        status = libwebsocket_service(context, 1000);
        if (wsi_mirror == NULL) {
            wsi_mirror = libwebsocket_client_connect(context, argv[1], port, 0, "/", argv[1], argv[1], protocols[1].name, -1);
            if (wsi_mirror == NULL)
                break;
            mirror_lifetime = -1;
        } else if (mirror_lifetime > 0 && --mirror_lifetime == 0) {
            libwebsocket_close_and_free_session(context, wsi_mirror, LWS_CLOSE_STATUS_GOINGAWAY);
            mirror_lifetime = -1;
        }
    }
    fprintf(stderr, "%d mirrors\n", mirrors);
    libwebsocket_context_destroy(context);
    return mirrors > 1 ? 0 : 2;
}
