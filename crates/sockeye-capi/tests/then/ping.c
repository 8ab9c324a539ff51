/*
 * A pinger that calls the library as programs of 2013 do: wishes from main at each interval, also before the handshake is over, and payloads
 * that begin with a number and the time. By pings, or by messages of the mirror.
 *
 *     ping HOST PORT COUNT CLIENTS SIZE [mirror]
 */

#include "libwebsockets.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { LONGEST = 4096, MOST = 256 };

static unsigned int size, by_mirror, clients, started, closed, wrong;
static unsigned long sent, received, wanted;
static struct libwebsocket *wsis[MOST];

struct session {
    unsigned int number;
    unsigned int answered;
    unsigned char buffer[LWS_SEND_BUFFER_PRE_PADDING + LONGEST + LWS_SEND_BUFFER_POST_PADDING];
};

static uint64_t microseconds(void)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_usec;
}

static int callback_ping(struct libwebsocket_context *context, struct libwebsocket *wsi,
                         enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    struct session *session = user;
    unsigned char *payload;
    char text[40];
    int result;

    (void)context;
    switch (reason) {
    case LWS_CALLBACK_CLOSED:
        closed++;
        break;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        started++;
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        received++;
        snprintf(text, sizeof(text), "%08u", session->answered);
        /* The mirror has those of the others, too, and sends all as text, so this is text. */
        if (len != size || (clients == 1 && memcmp(in, text, 8)))
            wrong++;
        session->answered++;
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        payload = &session->buffer[LWS_SEND_BUFFER_PRE_PADDING];
        memset(payload, 'x', size);
        snprintf(text, sizeof(text), "%08u%016lu", session->number++, (unsigned long)microseconds());
        memcpy(payload, text, 24);
        if (by_mirror)
            result = libwebsocket_write(wsi, payload, size, LWS_WRITE_BINARY);
        else
            result = libwebsocket_write(wsi, payload, size,
                                        (enum libwebsocket_write_protocol)(LWS_WRITE_CLIENT_IGNORE_XOR_MASK | LWS_WRITE_PING));
        if (result < 0)
            return -1;
        sent++;
        break;
    default:
        break;
    }
    return 0;
}

/* It ends with nothing but a callback that is NULL. */
static struct libwebsocket_protocols protocols[] = {
    {NULL, callback_ping, sizeof(struct session), NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(int argc, char **argv)
{
    struct libwebsocket_context *context;
    uint64_t last = 0, until = 0;
    unsigned int index;
    int status = 0;
    unsigned long beats = 0;

    if (argc < 6)
        return 1;
    wanted = (unsigned long)atol(argv[3]);
    clients = (unsigned int)atoi(argv[4]);
    size = (unsigned int)atoi(argv[5]);
    by_mirror = argc > 6;
    protocols[0].name = "mirror";
    context = libwebsocket_create_context(CONTEXT_PORT_NO_LISTEN, NULL, protocols, libwebsocket_internal_extensions, NULL, NULL, NULL,
                                          -1, -1, 0, NULL);
    if (context == NULL)
        return 1;
    for (index = 0; index < clients; index++) {
        char name[100], address[100];

        wsis[index] = libwebsocket_client_connect(context, argv[1], atoi(argv[2]), 0, "/", argv[1], "origin", protocols[0].name, -1);
        if (wsis[index] == NULL)
            return 1;
        libwebsockets_get_peer_addresses(context, wsis[index], libwebsocket_get_socket_fd(wsis[index]), name, sizeof(name), address,
                                         sizeof(address));
        if (!index)
            printf("to %s\n", address);
    }
    while (status >= 0 && closed < clients && (!until || microseconds() < until)) {
        uint64_t now = microseconds();

        /* The first beat comes before any handshake is over, but for a mirror, which returns to those that are there. */
        if (beats < wanted && now - last > 10000 && ((beats == 0 && !by_mirror) || started == clients)) {
            for (index = 0; index < clients; index++)
                libwebsocket_callback_on_writable(context, wsis[index]);
            last = now;
            beats++;
        }
        if (!until && sent == wanted * clients && received >= (by_mirror ? sent * clients : sent))
            until = now + 50000;
        status = libwebsocket_service(context, 1);
    }
    printf("%lu sent, %lu received, %u wrong\n", sent, received, wrong);
    libwebsocket_context_destroy(context);
    printf("%u closed\n", closed);
    return 0;
}
