/*
 * Every export of the library of 2013 with every argument wrong; generate.py writes the calls. It has to come to its end, and to serve
 * then.
 */

#include <libwebsockets.h>

#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>

static struct libwebsocket_context *context;
static struct libwebsocket *wsi, *other;
static struct pollfd unknown;
static char text[8192], blank[8192];
static const char *now = "the beginning";
static int port, calls;

static int callback_all(struct libwebsocket_context *of, struct libwebsocket *own, enum libwebsocket_callback_reasons reason,
                        void *user, void *in, size_t len)
{
    (void)of, (void)user, (void)in, (void)len;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        wsi = own;
        break;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        other = own;
        break;
    case LWS_CALLBACK_CLOSED:
        wsi = other = NULL;
        break;
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {{"calls", callback_all, 8, NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}};
/* The array of a context is that context's, so calls that make one have another. */
static struct libwebsocket_protocols spare[] = {{"spare", callback_all, 8, NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}};

static void connect_anew(void)
{
    int turns;

    libwebsocket_client_connect(context, "127.0.0.1", port, 0, "/", "h", "o", "calls", -1);
    for (turns = 0; !(wsi && other) && turns < 10000; turns++)
        libwebsocket_service(context, 1);
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
    memset(&unknown, 0, sizeof(unknown));
    unknown.fd = -1;
    memset(blank, 0, sizeof(blank));
    strcpy(text, "text");
    lws_set_log_level(0, NULL);
}

static void no_context(struct libwebsocket_context *made)
{
    libwebsocket_context_destroy(made);
}
#define libwebsocket_create_context(port, interf, own, ...) \
    no_context(libwebsocket_create_context(port, interf, own == protocols ? spare : own, __VA_ARGS__))
#define OF(call) call

#include "calls.inc"

static void fallen(int signal_number)
{
    char line[300];

    write(1, line, (size_t)snprintf(line, sizeof(line), "signal %d in %s\n", signal_number, now));
    _exit(1);
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int probe = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(probe, (struct sockaddr *)&address, size) || getsockname(probe, (struct sockaddr *)&address, &size))
        return -1;
    close(probe);
    return ntohs(address.sin_port);
}

int main(void)
{
    int tries;

    signal(SIGSEGV, fallen);
    signal(SIGABRT, fallen);
    signal(SIGBUS, fallen);
    lws_set_log_level(0, NULL);
    /* Another program may take the port in between. */
    for (tries = 0; !context && tries < 100; tries++) {
        port = free_port();
        context = (libwebsocket_create_context)(port, "127.0.0.1", protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    }
    each_call();
    ready("the end");
    libwebsocket_context_destroy(context);
    printf("%s\n", calls > 100 ? "ended" : "few calls");
    return 0;
}
