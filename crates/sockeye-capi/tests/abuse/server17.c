/*
 * What the suite `abuse` of the command tries, as a C program for libwebsockets 4.1.6, with the words of the command:
 *
 *     server17 echo
 *     server17 serve FOLDER [--origin ORIGIN] [--close-test]
 *
 * `echo` sends back what it gets. `serve` has the files of FOLDER, and the protocols of the test server of old. Other words that
 * begin with `--` take a value and mean nothing.
 */

#include <libwebsockets.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* No piece that is received is longer. */
enum { PIECE = 4096 };

static struct lws_context *context;
static const char *origin;
static int closes;
static volatile sig_atomic_t is_ending;

/* What is received waits in it until it may be written. */
struct session {
    unsigned char buffer[LWS_PRE + PIECE];
    size_t length;
    int kind, is_within, number;
};

/* Whether this page may connect. */
static int is_foreign(struct lws *wsi)
{
    char text[256] = "";

    if (!origin || !lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN))
        return 0;
    return lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_ORIGIN) < 0 || strcmp(text, origin) != 0;
}

static int on_echo(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct session *session = user;

    switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return is_foreign(wsi);
    case LWS_CALLBACK_RECEIVE:
        if (len > PIECE)
            return -1;
        memcpy(session->buffer + LWS_PRE, in, len);
        session->length = len;
        session->kind = session->is_within ? LWS_WRITE_CONTINUATION : lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
        session->is_within = !lws_is_final_fragment(wsi);
        if (session->is_within)
            session->kind |= LWS_WRITE_NO_FIN;
        /* No other piece until this one is on its way. */
        lws_rx_flow_control(wsi, 0);
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        if (session->kind < 0)
            break; /* asked for by a ping of the library */
        if (lws_write(wsi, session->buffer + LWS_PRE, session->length, (enum lws_write_protocol)session->kind) < 0)
            return -1;
        session->kind = -1;
        lws_rx_flow_control(wsi, 1);
        break;
    case LWS_CALLBACK_ESTABLISHED:
        session->kind = -1;
        break;
    default:
        break;
    }
    return lws_callback_http_dummy(wsi, reason, user, in, len);
}

/* Counts, and closes in the end. */
static int on_count(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct session *session = user;

    (void)in, (void)len;
    switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return is_foreign(wsi);
    case LWS_CALLBACK_ESTABLISHED:
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        len = (size_t)snprintf((char *)session->buffer + LWS_PRE, 12, "%d", session->number++);
        if (lws_write(wsi, session->buffer + LWS_PRE, len, LWS_WRITE_TEXT) < 0)
            return -1;
        if (closes && session->number == 50) {
            lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
            return -1;
        }
        if (session->number < 50)
            lws_callback_on_writable(wsi);
        break;
    default:
        break;
    }
    return 0;
}

static const struct lws_protocols echo_alone[] = {{"echo", on_echo, sizeof(struct session), PIECE, 0, NULL, 0}, {0}};
static const struct lws_protocols served[] = {
    {"default", on_echo, sizeof(struct session), PIECE, 0, NULL, 0},
    {"dumb-increment-protocol", on_count, sizeof(struct session), PIECE, 0, NULL, 0},
    {"lws-mirror-protocol", on_echo, sizeof(struct session), PIECE, 0, NULL, 0},
    {0},
};

static void end(int number)
{
    (void)number;
    is_ending = 1;
}

int main(int count, char **words)
{
    /* The silence of the command: a ping after 25 s, and the end 20 s after it. */
    static const lws_retry_bo_t silence = {.secs_since_valid_ping = 25, .secs_since_valid_hangup = 45};
    static struct lws_http_mount mount = {.mountpoint = "/", .mountpoint_len = 1, .origin_protocol = LWSMPRO_FILE, .def = "index.html"};
    struct lws_context_creation_info info = {.iface = "127.0.0.1", .retry_and_idle_policy = &silence};
    struct lws_vhost *vhost;
    int at;

    signal(SIGINT, end);
    signal(SIGTERM, end);
    lws_set_log_level(LLL_ERR | LLL_WARN, NULL);
    if (count < 2)
        return 2;
    info.protocols = echo_alone;
    for (at = 2; at < count; at++) {
        if (!strcmp(words[at], "--close-test"))
            closes = 1;
        else if (!strcmp(words[at], "--origin") && at + 1 < count)
            origin = words[++at];
        else if (!strncmp(words[at], "--", 2))
            at++;
        else
            mount.origin = words[at];
    }
    if (!strcmp(words[1], "serve")) {
        info.protocols = served;
        info.mounts = &mount;
    }
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    context = lws_create_context(&info);
    if (!context)
        return 1;
    info.options = LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND;
    vhost = lws_create_vhost(context, &info);
    if (!vhost)
        return 1;
    printf("listening on ws://127.0.0.1:%d/\n", lws_get_vhost_listen_port(vhost));
    fflush(stdout);
    while (!is_ending && lws_service(context, 1000) >= 0)
        ;
    lws_context_destroy(context);
    return 0;
}
