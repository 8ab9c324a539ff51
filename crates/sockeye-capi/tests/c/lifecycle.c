/* Contexts: what creating and destroying do, and how creating fails. */

#include "common.h"

static int adds, deletes, announced = -1;

static int callback_first(struct libwebsocket_context *context, struct libwebsocket *wsi,
                          enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)in;
    if (reason == LWS_CALLBACK_ADD_POLL_FD) {
        int is_listener = 0;
        socklen_t length = sizeof(is_listener);

        adds++;
        if (!getsockopt((int)(long)user, SOL_SOCKET, SO_ACCEPTCONN, &is_listener, &length) && is_listener) {
            announced = (int)(long)user;
            say("listener announced, bits %d", (int)len);
        }
    }
    if (reason == LWS_CALLBACK_DEL_POLL_FD) {
        deletes++;
        if ((int)(long)user == announced) {
            CHECK(fcntl(announced, F_GETFD) >= 0);
            say("listener deleted");
        }
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"first", callback_first, 0, NULL, -1, -1, -1},
    {"second", callback_first, 10, NULL, -1, -1, -1},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static struct libwebsocket_context *create(int port, const char *interf, const char *certificate, void *user)
{
    return libwebsocket_create_context(port, interf, protocols, libwebsocket_internal_extensions, certificate, certificate, NULL,
                                       -1, -1, 0, user);
}

int main(void)
{
    int port = free_port(), mark;
    struct libwebsocket_context *context;

    lws_set_log_level(LLL_ERR, quiet);
    context = create(port, NULL, NULL, &mark);
    CHECK(context != NULL);
    CHECK(announced >= 0);
    CHECK(libwebsocket_context_user(context) == &mark);
    CHECK(libwebsocket_canonical_hostname(context)[0] != '\0');
    CHECK(protocols[0].owning_server == context && protocols[1].owning_server == context);
    CHECK(protocols[0].protocol_index == 0 && protocols[1].protocol_index == 1);

    errors = 0;
    say("the port is taken");
    CHECK(create(port, NULL, NULL, NULL) == NULL && errors > 0);
    errors = 0;
    say("no such interface");
    CHECK(create(free_port(), "nowhere0", NULL, NULL) == NULL && errors > 0);
    errors = 0;
    say("no such certificate");
    CHECK(create(free_port(), NULL, "/nonexistent/cert.pem", NULL) == NULL && errors > 0);
    errors = 0;
    setenv("http_proxy", "nothing", 1);
    say("a proxy without a port");
    CHECK(create(CONTEXT_PORT_NO_LISTEN, NULL, NULL, NULL) == NULL && errors > 0);
    unsetenv("http_proxy");

    say("those that failed are gone");
    libwebsocket_context_destroy(context);
    CHECK(adds == deletes);

    context = create(free_port(), "lo", NULL, NULL);
    CHECK(context != NULL);
    libwebsocket_context_destroy(context);
    context = create(CONTEXT_PORT_NO_LISTEN, NULL, NULL, NULL);
    CHECK(context != NULL);
    CHECK(libwebsocket_service(context, 0) == 0);
    libwebsocket_context_destroy(context);
    CHECK(adds == deletes);

    libwebsocket_context_destroy(NULL);
    CHECK(libwebsocket_service(NULL, 0) == 1);
    return finish();
}
