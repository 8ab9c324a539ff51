/* A callback that returns 1, and -1, for each reason in turn, on our library only: what it was about may end, and the loop goes on. */

#include <libwebsockets.h>

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REASONS = 100 };

static struct lws_context *context;
static struct lws_vhost *vhost;
static int refused = -1, value, port, is_served;
static int came[REASONS];

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    unsigned char room[LWS_PRE + 8];

    (void)user, (void)in, (void)len;
    memcpy(room + LWS_PRE, "ping", 4);
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        lws_write(wsi, room + LWS_PRE, 1, LWS_WRITE_PING);
        lws_write(wsi, room + LWS_PRE, 4, LWS_WRITE_TEXT);
        break;
    case LWS_CALLBACK_RECEIVE:
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        lws_write(wsi, room + LWS_PRE, 1, LWS_WRITE_PING);
        lws_write(wsi, room + LWS_PRE, 4, LWS_WRITE_TEXT);
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        is_served++;
        lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
        if ((int)reason != refused)
            return -1;
        break;
    case LWS_CALLBACK_HTTP:
        lws_return_http_status(wsi, 404, NULL);
        break;
    default:
        break;
    }
    if ((int)reason < REASONS)
        came[reason]++;
    return (int)reason == refused ? value : 0;
}

static const struct lws_protocols protocols[] = {{"returns", callback, 8, 0, 0, NULL, 0}, {0}};

static struct lws *connects(const char *protocol)
{
    struct lws_client_connect_info info = {.context = context, .address = "127.0.0.1", .port = port, .path = "/", .host = "h", .protocol = protocol, .vhost = vhost};

    return lws_client_connect_via_info(&info);
}

/* A peer that is a socket, and asks for a page. */
static int asks(void)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int peer = socket(AF_INET, SOCK_STREAM, 0);

    assert(connect(peer, (struct sockaddr *)&address, sizeof(address)) == 0);
    assert(write(peer, request, sizeof(request) - 1) == (ssize_t)sizeof(request) - 1);
    return peer;
}

static void turns(int count)
{
    while (count--)
        lws_service(context, 2);
}

static void begin(void)
{
    struct lws_context_creation_info info = {.protocols = protocols, .iface = "127.0.0.1", .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS};

    context = lws_create_context(&info);
    assert(context);
    vhost = lws_create_vhost(context, &info);
    assert(vhost);
    port = lws_get_vhost_listen_port(vhost);
}

int main(void)
{
    int reason, values[] = {1, -1}, at, before, count, peer, seen = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    lws_set_log_level(0, NULL);
    for (at = 0; at < 2; at++) {
        for (reason = 0; reason < REASONS; reason++) {
            memset(came, 0, sizeof(came));
            refused = reason;
            value = values[at];
            /* A context of its own: some reasons are about its beginning and its end. */
            begin();
            connects("returns");
            connects("nobody");
            peer = asks();
            turns(12);
            close(peer);
            lws_cancel_service(context);
            turns(2);
            refused = -1;
            before = is_served;
            if (!connects("returns"))
                printf("reason %d, %d: no connection afterwards\n", reason, value);
            for (count = 0; is_served == before && count < 5000; count++)
                lws_service(context, 2);
            if (is_served == before)
                printf("reason %d, %d: nothing is served afterwards\n", reason, value);
            refused = reason;
            lws_context_destroy(context);
            seen += came[reason] > 0;
        }
    }
    /* Of some thirty that this makes happen. */
    printf("%s, ended\n", seen >= 60 ? "many reasons came" : "few reasons came");
    return 0;
}
