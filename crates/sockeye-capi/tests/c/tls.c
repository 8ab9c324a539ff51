/* Certificates, keys and authorities by the paths of files: what each kind of context does with them, and what none takes. */

#include "common.h"

static int is_open, has_failed, received;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        is_open = 1;
        return write_text(wsi, "hello");
    case LWS_CALLBACK_RECEIVE:
        CHECK(len == 5 && !memcmp(in, "hello", 5));
        received++;
        return -1;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        has_failed = 1;
        break;
    case LWS_CALLBACK_CLOSED:
        is_open = 0;
        break;
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"tls", callback_all, 8, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};
/* A context takes over its array, so each has one of its own. */
static struct libwebsocket_protocols copies[16][2];
static int copied;

static const char *file(const char *name)
{
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", getenv("CERTIFICATES"), name);
    return path;
}

static struct libwebsocket_context *context(int port, const char *certificate, const char *key, const char *authority,
                                            unsigned int options)
{
    struct libwebsocket_protocols *own = copies[copied++];

    memcpy(own, protocols, sizeof(protocols));
    lws_set_log_level(LLL_ERR, quiet);
    return libwebsocket_create_context(port, "127.0.0.1", own, NULL, certificate, key, authority, -1, -1, options, NULL);
}

static void connects(const char *what, struct libwebsocket_context *from, int port, int ssl)
{
    int before = received;

    is_open = has_failed = 0;
    if (!libwebsocket_client_connect(from, "127.0.0.1", port, ssl, "/", "localhost", "localhost", "tls", -1))
        has_failed = 1;
    UNTIL(has_failed || (received > before && !is_open));
    say("%s: %s", what, has_failed ? "refused" : "received");
}

int main(void)
{
    unsigned int demanding = LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT;
    const char *server = file("server.pem"), *authority = file("authority.pem"), *mine = file("client.pem");
    struct libwebsocket_context *unknown, *trusting, *shown, *impostor;
    int open_port = free_port(), closed_port;

    serve(context(open_port, server, server, NULL, 0));
    closed_port = free_port();
    serve(context(closed_port, server, server, authority, demanding));
    unknown = serve(context(0, NULL, NULL, file("stranger.pem"), 0));
    trusting = serve(context(0, NULL, NULL, authority, 0));
    shown = serve(context(0, mine, mine, authority, 0));
    impostor = serve(context(0, file("impostor.pem"), file("impostor.pem"), authority, 0));

    connects("an authority that has issued another", unknown, open_port, 1);
    connects("the same, and any will do", unknown, open_port, 2);
    connects("the authority", trusting, open_port, 1);
    connects("no certificate where one is demanded", trusting, closed_port, 1);
    connects("a certificate where one is demanded", shown, closed_port, 1);
    connects("a certificate of another authority", impostor, closed_port, 1);
    connects("a certificate where none is", shown, open_port, 1);

    CHECK(!context(free_port(), server, NULL, NULL, 0));
    CHECK(!context(free_port(), NULL, server, NULL, 0));
    CHECK(!context(0, mine, NULL, authority, 0));
    CHECK(!context(free_port(), server, server, NULL, demanding));
    CHECK(!context(free_port(), NULL, NULL, authority, demanding));
    CHECK(!context(free_port(), server, file("encrypted.key"), NULL, 0));
    CHECK(!context(free_port(), "\xff/nothing", "\xff/nothing", NULL, 0));
    connects("an authority that is not there", serve(context(0, NULL, NULL, file("missing.pem"), 0)), open_port, 1);
    connects("an encrypted key", serve(context(0, mine, file("encrypted.key"), authority, 0)), open_port, 1);
    return finish();
}
