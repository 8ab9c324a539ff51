/*
 * Every export of the library of 4.1.6 with every argument wrong; generate.py writes the calls. It has to come to its end, and to serve
 * then.
 */

#include <libwebsockets.h>

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct lws_context *context;
static struct lws_vhost *vhost;
static struct lws *wsi, *other;
static struct lws_ring *ring;
static struct lws_context_creation_info creation;
static struct lws_client_connect_info connecting;
static lws_sorted_usec_list_t timer;
static struct pollfd unknown;
static char text[8192], blank[8192];
static unsigned char *cursor;
static const char *pointer, *now = "the beginning";
static uint32_t tail;
static int number, port, calls;

static int callback(struct lws *own, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user, (void)in, (void)len;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        wsi = own;
        break;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        other = own;
        break;
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLIENT_CLOSED:
        wsi = other = NULL;
        break;
    default:
        break;
    }
    return 0;
}

static const struct lws_protocols protocols[] = {{"calls", callback, 8, 0, 0, NULL, 0}, {0}};

static void connect_anew(void)
{
    struct lws_client_connect_info info = {.context = context, .address = "127.0.0.1", .port = port, .path = "/", .host = "h", .protocol = "calls", .vhost = vhost};
    int turns;

    lws_client_connect_via_info(&info);
    for (turns = 0; !(wsi && other) && turns < 10000; turns++)
        lws_service(context, 1);
    if (!wsi || !other) {
        printf("no connection is made any more, after %s\n", now);
        exit(1);
    }
}

/* All that is good, anew. */
static void ready(const char *what)
{
    now = what;
    calls++;
    if (!wsi || !other)
        connect_anew();
    memset(&creation, 0, sizeof(creation));
    creation.port = CONTEXT_PORT_NO_LISTEN;
    memset(&connecting, 0, sizeof(connecting));
    memset(&unknown, 0, sizeof(unknown));
    unknown.fd = -1;
    memset(blank, 0, sizeof(blank));
    strcpy(text, "text");
    cursor = (unsigned char *)text;
    pointer = text;
    tail = 0;
    if (ring)
        lws_ring_destroy(ring);
    ring = lws_ring_create(4, 8, NULL);
    lws_set_log_level(0, NULL);
}

/* Contexts and rings that a call makes are ended; `ready` ends the ring. */
static void no_context(struct lws_context *made)
{
    if (made)
        lws_context_destroy(made);
}
static void no_ring(struct lws_ring *made)
{
    if (made)
        lws_ring_destroy(made);
}
static void destroyed(void)
{
    ring = NULL;
}
#define lws_create_context(info) no_context(lws_create_context(info))
#define lws_ring_create(size, count, destroy) no_ring(lws_ring_create(size, count, destroy))
#define lws_ring_destroy(own) lws_ring_destroy(own), own == ring ? destroyed() : (void)0
#define OF(call) call

#include "calls.inc"

static void fallen(int signal_number)
{
    char line[300];

    write(1, line, (size_t)snprintf(line, sizeof(line), "signal %d in %s\n", signal_number, now));
    _exit(1);
}

int main(void)
{
    struct lws_context_creation_info info = {.protocols = protocols, .iface = "127.0.0.1"};

    signal(SIGSEGV, fallen);
    signal(SIGABRT, fallen);
    signal(SIGBUS, fallen);
    lws_set_log_level(0, NULL);
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    context = (lws_create_context)(&info);
    vhost = lws_create_vhost(context, &info);
    port = lws_get_vhost_listen_port(vhost);
    each_call();
    ready("the end");
    (lws_ring_destroy)(ring);
    lws_context_destroy(context);
    printf("%s\n", calls > 300 ? "ended" : "few calls");
    return 0;
}
