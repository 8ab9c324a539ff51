/*
 * What the suite `abuse` of the command tries, as a C program of 2013, with the words of the command:
 *
 *     server13 echo
 *     server13 serve FOLDER [--origin ORIGIN] [--close-test]
 *
 * `echo` sends back what it gets. `serve` has the files of FOLDER that have plain names, and the protocols of the test server of
 * old. Other words that begin with `--` take a value and mean nothing.
 */

#include <libwebsockets.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* No piece that is received is longer. */
enum { PIECE = 4096 };

static const char *origin, *folder;
static int closes;
static volatile sig_atomic_t is_ending;

/* What is received waits in it until it may be written. */
struct session {
    unsigned char buffer[LWS_SEND_BUFFER_PRE_PADDING + PIECE + LWS_SEND_BUFFER_POST_PADDING];
    size_t length;
    int kind, is_within, number;
};

/* Whether this page may connect. */
static int is_foreign(const struct lws_tokens *tokens)
{
    const struct lws_tokens *token = &tokens[WSI_TOKEN_ORIGIN];

    return origin && token->token && (strlen(origin) != (size_t)token->token_len || memcmp(origin, token->token, strlen(origin)));
}

/* The path of a file: letters, digits, dots and dashes below the folder. */
static int serve(struct libwebsocket_context *context, struct libwebsocket *wsi, const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    char name[512];

    if (!folder || path[0] != '/' || strspn(path + 1, plain) != strlen(path + 1) || path[1] == '.')
        path = "/missing";
    snprintf(name, sizeof(name), "%s%s", folder ? folder : "/nowhere", path);
    return libwebsockets_serve_http_file(context, wsi, name, "text/plain");
}

static int on_echo(struct libwebsocket_context *context, struct libwebsocket *wsi, enum libwebsocket_callback_reasons reason,
                   void *user, void *in, size_t len)
{
    struct session *session = user;

    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return serve(context, wsi, in);
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return is_foreign(user);
    case LWS_CALLBACK_RECEIVE:
        memcpy(session->buffer + LWS_SEND_BUFFER_PRE_PADDING, in, len);
        session->length = len;
        session->kind = session->is_within ? LWS_WRITE_CONTINUATION : lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
        session->is_within = !libwebsocket_is_final_fragment(wsi);
        if (session->is_within)
            session->kind |= LWS_WRITE_NO_FIN;
        /* No other piece until this one is on its way. */
        libwebsocket_rx_flow_control(wsi, 0);
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        libwebsocket_rx_flow_control(wsi, 1);
        return libwebsocket_write(wsi, session->buffer + LWS_SEND_BUFFER_PRE_PADDING, session->length,
                                  (enum libwebsocket_write_protocol)session->kind);
    default:
        break;
    }
    return 0;
}

/* Counts, and closes in the end. */
static int on_count(struct libwebsocket_context *context, struct libwebsocket *wsi, enum libwebsocket_callback_reasons reason,
                    void *user, void *in, size_t len)
{
    struct session *session = user;
    unsigned char *text;

    (void)in;
    switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return is_foreign(user);
    case LWS_CALLBACK_ESTABLISHED:
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        text = session->buffer + LWS_SEND_BUFFER_PRE_PADDING;
        len = (size_t)snprintf((char *)text, 12, "%d", session->number++);
        if (libwebsocket_write(wsi, text, len, LWS_WRITE_TEXT) < 0)
            return -1;
        if (closes && session->number == 50)
            libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
        else if (session->number < 50)
            libwebsocket_callback_on_writable(context, wsi);
        break;
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols echo_alone[] = {
    {"echo", on_echo, sizeof(struct session), NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}};
static struct libwebsocket_protocols served[] = {
    {"default", on_echo, sizeof(struct session), NULL, 0, 0, 0},
    {"dumb-increment-protocol", on_count, sizeof(struct session), NULL, 0, 0, 0},
    {"lws-mirror-protocol", on_echo, sizeof(struct session), NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void end(int number)
{
    (void)number;
    is_ending = 1;
}

/* A port that nobody has at the moment: 0 means something else in this interface. */
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

int main(int count, char **words)
{
    struct libwebsocket_protocols *protocols = echo_alone;
    struct libwebsocket_context *context = NULL;
    int at, tries, port = 0;

    signal(SIGINT, end);
    signal(SIGTERM, end);
    lws_set_log_level(LLL_ERR | LLL_WARN, NULL);
    if (count < 2)
        return 2;
    for (at = 2; at < count; at++) {
        if (!strcmp(words[at], "--close-test"))
            closes = 1;
        else if (!strcmp(words[at], "--origin") && at + 1 < count)
            origin = words[++at];
        else if (!strncmp(words[at], "--", 2))
            at++;
        else
            folder = words[at];
    }
    if (!strcmp(words[1], "serve"))
        protocols = served;
    /* Another program may take the port in between. */
    for (tries = 0; !context && tries < 100; tries++) {
        port = free_port();
        context = libwebsocket_create_context(port, "127.0.0.1", protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    }
    if (!context)
        return 1;
    printf("listening on ws://127.0.0.1:%d/\n", port);
    fflush(stdout);
    while (!is_ending && libwebsocket_service(context, 1000) == 0)
        ;
    libwebsocket_context_destroy(context);
    return 0;
}
