/* A process with few descriptors: more peers than it can have wait or are refused, the others are served, and it recovers. */

#include "common.h"

#include <sys/resource.h>

enum { DESCRIPTORS = 40, PEERS = 60 };

static int opened, closes;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)user, (void)in, (void)len;
    opened += reason == LWS_CALLBACK_ESTABLISHED;
    closes += reason == LWS_CALLBACK_CLOSED;
    if (reason == LWS_CALLBACK_RECEIVE)
        CHECK(libwebsocket_write(wsi, padded(in, len), len, LWS_WRITE_TEXT) == 0);
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"descriptors", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

/* In a process of its own, which has enough: it opens all, and says when. */
static void crowd(int port, int report, int stop)
{
    static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    char byte = 1;
    int index;

    for (index = 0; index < PEERS; index++)
        send(peer_connect(port), REQUEST, sizeof(REQUEST) - 1, MSG_NOSIGNAL);
    if (write(report, &byte, 1) != 1 || read(stop, &byte, 1) < 0)
        _exit(1);
    _exit(0);
}

int main(void)
{
    int port = free_port(), report[2], stop[2], fd, status, most;
    struct rlimit limit;
    struct pollfd told;
    pid_t child;

    CHECK(!pipe(report) && !pipe(stop));
    fflush(stdout);
    child = fork();
    if (!child) {
        struct pollfd ready = {.fd = stop[0], .events = POLLIN};

        close(stop[1]);
        poll(&ready, 1, 60000);
        if (read(stop[0], &status, 1) == 1)
            crowd(port, report[1], stop[0]);
        _exit(1);
    }
    CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = DESCRIPTORS;
    CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
    server(port, protocols);
    CHECK(write(stop[1], "x", 1) == 1);
    told.fd = report[0];
    told.events = POLLIN;
    UNTIL(poll(&told, 1, 0) == 1 && opened > 5);
    turns(50);
    most = opened;
    CHECK(most < DESCRIPTORS);
    say("some are served");
    close(stop[1]);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    UNTIL(closes >= most);
    turns(50);
    fd = peer_upgrade(port, "/", NULL);
    peer_frame(fd, 0x81, "here", 4);
    say_frame(fd, "peer");
    close(fd);
    UNTIL(closes == opened);
    return finish();
}
