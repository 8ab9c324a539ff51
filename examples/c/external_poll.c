/*
 * A server in a poll loop of the program: the library says which descriptors it waits for, and is called when one is ready. Here the
 * loop also reads standard input, and ends with it.
 *
 *     cc external_poll.c -o external_poll $(pkg-config --cflags --libs libwebsockets)
 *     ./external_poll PORT
 */

#include <libwebsockets.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is polled. The first one is standard input. */
enum { MOST = 1024 };

static struct pollfd polled[MOST] = {{.fd = STDIN_FILENO, .events = POLLIN}};
static nfds_t count = 1;

static struct pollfd *find(int fd)
{
    nfds_t index;

    for (index = 1; index < count; index++)
        if (polled[index].fd == fd)
            return &polled[index];
    return NULL;
}

/* The first protocol gets what is about descriptors; true if this was. */
static int on_descriptor(enum libwebsocket_callback_reasons reason, int fd, short events)
{
    struct pollfd *entry = find(fd);

    switch (reason) {
    case LWS_CALLBACK_ADD_POLL_FD:
        if (count < MOST) {
            polled[count].fd = fd;
            polled[count].events = events;
            polled[count++].revents = 0;
        }
        return 1;
    case LWS_CALLBACK_DEL_POLL_FD:
        if (entry)
            *entry = polled[--count];
        return 1;
    case LWS_CALLBACK_SET_MODE_POLL_FD:
        if (entry)
            entry->events |= events;
        return 1;
    case LWS_CALLBACK_CLEAR_MODE_POLL_FD:
        if (entry)
            entry->events &= (short)~events;
        return 1;
    default:
        return 0;
    }
}

static int on_echo(struct libwebsocket_context *context, struct libwebsocket *wsi, enum libwebsocket_callback_reasons reason,
                   void *user, void *in, size_t len)
{
    unsigned char buffer[LWS_SEND_BUFFER_PRE_PADDING + 4096 + LWS_SEND_BUFFER_POST_PADDING];

    (void)context;
    if (on_descriptor(reason, (int)(long)user, (short)len))
        return 0;
    if (reason != LWS_CALLBACK_RECEIVE)
        return 0;
    /* Short messages only: what is written outside of WRITEABLE waits in the library. */
    if (!libwebsocket_is_final_fragment(wsi) || lws_frame_is_binary(wsi))
        return 1;
    memcpy(buffer + LWS_SEND_BUFFER_PRE_PADDING, in, len);
    return libwebsocket_write(wsi, buffer + LWS_SEND_BUFFER_PRE_PADDING, len, LWS_WRITE_TEXT);
}

static struct libwebsocket_protocols protocols[] = {
    {"echo", on_echo, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 7681;
    struct libwebsocket_context *context;

    context = libwebsocket_create_context(port, NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    if (!context)
        return 1;
    printf("listening on ws://127.0.0.1:%d/\n", port);
    fflush(stdout);
    while (!polled[0].revents && poll(polled, count, -1) >= 0) {
        nfds_t index;

        /* The library may add and remove entries meanwhile; one that is passed over is found again by the next poll. */
        for (index = 1; index < count; index++)
            if (polled[index].revents) {
                struct pollfd ready = polled[index];

                if (libwebsocket_service_fd(context, &ready) < 0)
                    break;
            }
    }
    libwebsocket_context_destroy(context);
    printf("ended, %u descriptors are left\n", (unsigned)count - 1);
    return 0;
}
