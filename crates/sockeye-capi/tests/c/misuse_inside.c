/* Service, destroy, close and write in every reason. */

#include "rules.h"

enum action { SERVICE, SERVICE_FD, DESTROY, CLOSE, HANGUP, WRITE, CONNECT, ACTIONS };

static const char *const ACTION_NAMES[] = {"service", "service_fd", "destroy", "close", "hangup", "write", "connect"};

static struct libwebsocket_context *contexts[2];
static char path[] = "/tmp/sockeye-capi-inside-XXXXXX";
static enum action action;
static int target, done, is_dead[2], port, connects;

static void act(struct libwebsocket_context *context, struct libwebsocket *wsi)
{
    unsigned char buffer[18 + 4 + 4] = {0};
    struct pollfd one = {.fd = libwebsocket_get_socket_fd(wsi), .events = POLLIN, .revents = POLLIN};

    done++;
    switch (action) {
    case SERVICE:
        CHECK(libwebsocket_service(context, 0) == -1);
        break;
    case SERVICE_FD:
        libwebsocket_service_fd(context, &one);
        libwebsocket_service_fd(context, NULL);
        break;
    case DESTROY:
        is_dead[context == contexts[1]] = 1;
        libwebsocket_context_destroy(context);
        break;
    case CLOSE:
        libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NORMAL);
        libwebsocket_close_and_free_session(context, wsi, LWS_CLOSE_STATUS_NOSTATUS);
        break;
    case HANGUP:
        if (known_index(wsi) >= 0)
            libwebsockets_hangup_on_client(context, libwebsocket_get_socket_fd(wsi));
        break;
    case WRITE:
        libwebsocket_write(wsi, buffer + 18, 4, LWS_WRITE_TEXT);
        break;
    case CONNECT:
        if (connects++ < 3)
            libwebsocket_client_connect(context, "127.0.0.1", port, 0, "/", "h", "o", "second", -1);
        break;
    default:
        break;
    }
}

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)in;
    rules(wsi, reason, user);
    (void)len;
    if ((int)reason == target && done < 5 && contexts[0] && contexts[1] && !is_dead[context == contexts[1]]) {
        /* The end of the connection may be told once only, so these are made once. */
        act(context, wsi);
    }
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        libwebsockets_serve_http_file(context, wsi, path, "text/plain");
        break;
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        libwebsocket_callback_on_writable(context, wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        write_text(wsi, "text");
        if (reason == LWS_CALLBACK_CLIENT_WRITEABLE)
            libwebsocket_write(wsi, padded("ping", 4), 4, LWS_WRITE_PING);
        break;
    default:
        break;
    }
    return leave(0);
}

static struct libwebsocket_protocols protocols[2][3] = {
    {{"first", callback_all, 8, NULL, 0, 0, 0}, {"second", callback_all, 24, NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}},
    {{"first", callback_all, 8, NULL, 0, 0, 0}, {"second", callback_all, 24, NULL, 0, 0, 0}, {NULL, NULL, 0, NULL, 0, 0, 0}},
};

static void serve_both(int count)
{
    int index;

    while (count--)
        for (index = 0; index < 2; index++)
            if (!is_dead[index]) {
                int result = libwebsocket_service(contexts[index], 1);

                CHECK(result == (is_dead[index] ? -1 : 0));
            }
}

static int connect_silently(void)
{
    struct libwebsocket *wsi;

    if (is_dead[1])
        return 0;
    wsi = libwebsocket_client_connect(contexts[1], "127.0.0.1", port, 0, "/", "h", "o", "second", -1);
    return wsi != NULL;
}

static void scenario(void)
{
    static const char GET[] = "GET /file HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    int index, http, listener, silent_port, silent;

    done = connects = 0;
    memset(is_dead, 0, sizeof(is_dead));
    contexts[0] = contexts[1] = NULL;
    port = free_port();
    for (index = 0; index < 2; index++)
        contexts[index] = libwebsocket_create_context(index ? 0 : port, NULL, protocols[index], NULL, NULL, NULL, NULL, -1, -1, 0,
                                                      NULL);
    CHECK(contexts[0] && contexts[1]);
    connect_silently();
    /* One that fails: it is answered with the end of the stream. */
    listener = peer_listen(&silent_port);
    if (!is_dead[1] && libwebsocket_client_connect(contexts[1], "127.0.0.1", silent_port, 0, "/", "h", NULL, NULL, -1)) {
        silent = peer_accept(listener);
        close(silent);
    }
    close(listener);
    http = peer_connect(port);
    send(http, GET, sizeof(GET) - 1, MSG_NOSIGNAL);
    serve_both(12);
    for (index = 0; index < 2; index++)
        if (!is_dead[index]) {
            is_dead[index] = 1;
            libwebsocket_context_destroy(contexts[index]);
        }
    close(http);
    rules_at_end();
}

int main(void)
{
    int fd = mkstemp(path);

    CHECK(fd >= 0 && write(fd, "content\n", 8) == 8);
    close(fd);
    lws_set_log_level(LLL_ERR, quiet);
    for (action = 0; action < ACTIONS; action++) {
        int reasons = 0;

        for (target = LWS_CALLBACK_ESTABLISHED; target <= LWS_CALLBACK_CLEAR_MODE_POLL_FD; target++) {
            int before = broken;

            scenario();
            reasons += done > 0;
            if (broken > before)
                say("%s in %s: rules are broken", ACTION_NAMES[action], reason_name(target));
        }
        /* All but broadcast, five of TLS and extensions, and those that others may keep from happening. */
        CHECK(reasons >= 13);
        say("%s", ACTION_NAMES[action]);
    }
    unlink(path);
    return finish();
}
