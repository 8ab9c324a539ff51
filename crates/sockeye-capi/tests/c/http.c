/* Requests that are not upgrades: HTTP, files, and what follows them. */

#include "common.h"

#include <sys/stat.h>

static char path[] = "/tmp/sockeye-capi-http-XXXXXX";
static const char *serve_as;
static int answer, completion, is_completed;

static int callback_http(struct libwebsocket_context *context, struct libwebsocket *wsi,
                         enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    if (is_poll_reason(reason))
        return 0;
    say("%s", reason_name(reason));
    if (reason == LWS_CALLBACK_HTTP) {
        CHECK(user == NULL && strlen(in) == len);
        say("    '%s' %zu", (char *)in, len);
        if (serve_as)
            answer = libwebsockets_serve_http_file(context, wsi, serve_as, "text/plain");
        return serve_as ? 0 : 1;
    }
    if (reason == LWS_CALLBACK_HTTP_FILE_COMPLETION) {
        CHECK(!strcmp(in, path));
        say("    %zu bytes", len);
        is_completed = 1;
        return completion;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"http-only", callback_http, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static int port;

/* Whether the connection has ended behind the body of this length. */
static void request(const char *target, size_t body)
{
    static char head[4096], data[200000];
    int fd = peer_connect(port), status;
    size_t got;

    is_completed = 0;
    peer_text(fd, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", target);
    status = peer_head(fd, head, sizeof(head));
    got = peer_rest(fd, data, sizeof(data));
    close(fd);
    if (status == 200) {
        char length[64];

        snprintf(length, sizeof(length), "Content-Length: %zu\r\n", body);
        CHECK(strcasestr(head, "\r\nContent-Type: text/plain\r\n"));
        CHECK(strcasestr(head, length));
        CHECK(got == body && (!body || (data[0] == 'a' && data[body - 1] == 'z')));
    }
    say("status %d", status);
}

static void content(size_t size)
{
    FILE *file = fopen(path, "w");
    size_t index;

    for (index = 0; index < size; index++)
        fputc(index ? (index == size - 1 ? 'z' : 'm') : 'a', file);
    fclose(file);
}

int main(void)
{
    int fd = mkstemp(path);

    CHECK(fd >= 0);
    close(fd);
    port = free_port();
    server(port, protocols);

    say("refused by the program");
    request("/x?y", 0);

    say("a file");
    content(8529);
    serve_as = path;
    request("/", 8529);
    CHECK(answer == 0);

    say("a long file, and the connection is closed by the completion");
    content(150000);
    completion = 1;
    request("/long", 150000);
    CHECK(answer == 0 && is_completed);
    completion = 0;

    say("a file that is not there");
    serve_as = "/nonexistent/file";
    request("/gone", 0);
    CHECK(answer != 0);

    say("a FIFO that nobody writes to");
    unlink(path);
    CHECK(mkfifo(path, 0600) == 0);
    serve_as = path;
    request("/fifo", 0);
    CHECK(answer != 0 && !errors);

    turns(5);
    unlink(path);
    return finish();
}
