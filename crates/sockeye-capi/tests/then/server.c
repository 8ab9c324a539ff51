/*
 * A server that calls the library as programs of 2013 do: a beat of 50 ms from main, a counter for each client, and a mirror, which
 * keeps a ring of messages, holds senders back while it is full, and writes in a loop until the pipe is choked.
 *
 *     server PORT PAGE [LAST [LOCK]]
 *
 * With LAST a client's counter ends its connection there. With LOCK it is a daemon. EXTERNAL_POLL is for a loop of its own, that never
 * calls service_fd without a descriptor.
 */

#include "libwebsockets.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <syslog.h>

enum { HTTP, COUNTER, MIRROR };
enum { RING = 32, LONGEST = 4096 };

static struct libwebsocket_protocols protocols[4];
static const char *page;
static int last = -1;
static volatile sig_atomic_t is_over;

#ifdef EXTERNAL_POLL

static struct pollfd *pollfds;
static int *places;
static int pollfds_count;

static void poll_change(enum libwebsocket_callback_reasons reason, int fd, short bits)
{
    switch (reason) {
    case LWS_CALLBACK_ADD_POLL_FD:
        places[fd] = pollfds_count;
        pollfds[pollfds_count].fd = fd;
        pollfds[pollfds_count].events = bits;
        pollfds[pollfds_count++].revents = 0;
        break;
    case LWS_CALLBACK_DEL_POLL_FD:
        if (!--pollfds_count)
            break;
        pollfds[places[fd]] = pollfds[pollfds_count];
        places[pollfds[pollfds_count].fd] = places[fd];
        break;
    case LWS_CALLBACK_SET_MODE_POLL_FD:
        pollfds[places[fd]].events |= bits;
        break;
    case LWS_CALLBACK_CLEAR_MODE_POLL_FD:
        pollfds[places[fd]].events &= (short)~bits;
        break;
    default:
        break;
    }
}

#endif

static int callback_http(struct libwebsocket_context *context, struct libwebsocket *wsi,
                         enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        lwsl_info("a request for %s\n", (char *)in);
        if (libwebsockets_serve_http_file(context, wsi, page, "text/html"))
            lwsl_err("the page could not be sent\n");
        break;
    case LWS_CALLBACK_HTTP_FILE_COMPLETION:
        lwsl_notice("%s has been sent, %d bytes\n", (char *)in, (int)len);
        return 1;
#ifdef EXTERNAL_POLL
    case LWS_CALLBACK_ADD_POLL_FD:
    case LWS_CALLBACK_DEL_POLL_FD:
    case LWS_CALLBACK_SET_MODE_POLL_FD:
    case LWS_CALLBACK_CLEAR_MODE_POLL_FD:
        poll_change(reason, (int)(long)user, (short)len);
        break;
#endif
    default:
        break;
    }
    return 0;
}

struct counter {
    int number;
};

static int callback_counter(struct libwebsocket_context *context, struct libwebsocket *wsi,
                            enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    unsigned char buffer[LWS_SEND_BUFFER_PRE_PADDING + 20 + LWS_SEND_BUFFER_POST_PADDING];
    unsigned char *text = &buffer[LWS_SEND_BUFFER_PRE_PADDING];
    struct counter *counter = user;
    int count;

    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        counter->number = 0;
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        count = sprintf((char *)text, "%d", counter->number++);
        if (libwebsocket_write(wsi, text, (size_t)count, LWS_WRITE_TEXT) < 0) {
            lwsl_err("a number could not be written\n");
            return 1;
        }
        if (counter->number == last)
            libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
        break;
    case LWS_CALLBACK_RECEIVE:
        if (len == 6 && !strcmp(in, "reset\n"))
            counter->number = 0;
        break;
    default:
        break;
    }
    return 0;
}

static struct {
    void *payload;
    size_t len;
} ring[RING];

static int head;

struct mirror {
    struct libwebsocket *wsi;
    int tail;
};

static struct libwebsocket *held_back[256];
static int held_back_count;

static int write_mirror(struct libwebsocket_context *context, struct libwebsocket *wsi, struct mirror *mirror)
{
    int index;

    while (mirror->tail != head) {
        if (libwebsocket_write(wsi, (unsigned char *)ring[mirror->tail].payload + LWS_SEND_BUFFER_PRE_PADDING,
                               ring[mirror->tail].len, LWS_WRITE_TEXT) < 0)
            return 1;
        mirror->tail = (mirror->tail + 1) % RING;
        if ((head - mirror->tail + RING) % RING < RING - 15) {
            for (index = 0; index < held_back_count; index++)
                libwebsocket_rx_flow_control(held_back[index], 1);
            held_back_count = 0;
        }
        if (lws_send_pipe_choked(wsi)) {
            libwebsocket_callback_on_writable(context, wsi);
            break;
        }
    }
    return 0;
}

static int callback_mirror(struct libwebsocket_context *context, struct libwebsocket *wsi,
                           enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    struct mirror *mirror = user;
    int index;

    switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        lwsl_info("%s\n", ((struct lws_tokens *)user)[WSI_TOKEN_GET_URI].token);
        break;
    case LWS_CALLBACK_ESTABLISHED:
        mirror->tail = head;
        mirror->wsi = wsi;
        break;
    case LWS_CALLBACK_CLOSED:
        for (index = 0; index < held_back_count; index++)
            if (held_back[index] == wsi)
                held_back[index] = held_back[--held_back_count];
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return write_mirror(context, wsi, mirror);
    case LWS_CALLBACK_RECEIVE:
        if ((head - mirror->tail + RING) % RING == RING - 1) {
            lwsl_err("a message is dropped\n");
            break;
        }
        free(ring[head].payload);
        ring[head].payload = malloc(LWS_SEND_BUFFER_PRE_PADDING + len + LWS_SEND_BUFFER_POST_PADDING);
        ring[head].len = len;
        memcpy((char *)ring[head].payload + LWS_SEND_BUFFER_PRE_PADDING, in, len);
        head = (head + 1) % RING;
        if ((head - mirror->tail + RING) % RING > RING - 5 && held_back_count < 256) {
            held_back[held_back_count++] = wsi;
            libwebsocket_rx_flow_control(wsi, 0);
        }
        libwebsocket_callback_on_writable_all_protocol(libwebsockets_get_protocol(wsi));
        break;
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[4] = {
    {"http-only", callback_http, 0, NULL, 0, 0, 0},
    {"counter", callback_counter, sizeof(struct counter), NULL, 0, 0, 0},
    {"mirror", callback_mirror, sizeof(struct mirror), NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void end(int number)
{
    (void)number;
    is_over = 1;
}

int main(int argc, char **argv)
{
    struct libwebsocket_context *context;
    unsigned long before = 0;
    int status = 0, index;

    if (argc < 3)
        return 1;
    page = argv[2];
    if (argc > 3)
        last = atoi(argv[3]);
    if (argc > 4 && lws_daemonize(argv[4])) {
        fprintf(stderr, "Failed to daemonize\n");
        return 1;
    }
    signal(SIGINT, end);
    if (argc > 4) {
        openlog("then", LOG_PID, LOG_DAEMON);
        lws_set_log_level(7, lwsl_emit_syslog);
    }
#ifdef EXTERNAL_POLL
    pollfds = malloc((size_t)getdtablesize() * sizeof(struct pollfd));
    places = malloc((size_t)getdtablesize() * sizeof(int));
#endif
    context = libwebsocket_create_context(atoi(argv[1]), NULL, protocols, libwebsocket_internal_extensions, NULL, NULL, NULL, -1, -1,
                                          0, NULL);
    if (context == NULL) {
        lwsl_err("no context\n");
        return -1;
    }
    puts("listening on it");
    fflush(stdout);
    while (status >= 0 && !is_over) {
        struct timeval now;

        gettimeofday(&now, NULL);
        if ((unsigned long)now.tv_usec / 50000 != before) {
            libwebsocket_callback_on_writable_all_protocol(&protocols[COUNTER]);
            before = (unsigned long)now.tv_usec / 50000;
        }
#ifdef EXTERNAL_POLL
        status = poll(pollfds, (nfds_t)pollfds_count, 50);
        if (status <= 0)
            continue;
        for (index = 0; index < pollfds_count; index++)
            if (pollfds[index].revents && libwebsocket_service_fd(context, &pollfds[index]) < 0)
                break;
#else
        status = libwebsocket_service(context, 50);
#endif
    }
    libwebsocket_context_destroy(context);
    for (index = 0; index < RING; index++)
        free(ring[index].payload);
#ifdef EXTERNAL_POLL
    free(pollfds);
    free(places);
#endif
    lwsl_notice("exited cleanly\n");
    closelog();
    return 0;
}
