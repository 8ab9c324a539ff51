/*
 * Functions of 4.1.6 that need no peer, and what a request's callback sees and builds: prints what each returns. Debian's library and
 * ours print the same.
 */

#include <libwebsockets.h>

#include <stdio.h>
#include <string.h>

static int has_ended;

static void uris(void)
{
    static const char *const texts[] = {
        "ws://h:123/a/b?c", "ws://h", "/x", "https://h", "wss://[::1]:99/q", "[::1]:5/", "h:12", "h", "", "ws://u:p@h/x", "ws:///x",
        "ws://h:", "ws://h?x", "http://h:80x/", "foo://h/x", ":8/x", "ws://[::1", "+/tmp/x:/p", "ws://+/tmp/s:/p", "//h/x", "ws://h//",
    };
    size_t at;

    for (at = 0; at < LWS_ARRAY_SIZE(texts); at++) {
        const char *scheme = "-", *address = "-", *path = "-";
        char text[64];
        int port = -7, result;

        strcpy(text, texts[at]);
        result = lws_parse_uri(text, &scheme, &address, &port, &path);
        printf("uri %s: %d [%s] [%s] %d [%s]\n", texts[at], result, scheme, address, port, path);
    }
}

static void base64(void)
{
    static const char *const texts[] = {"", "YQ==", "YWI=", "YWJj", "YWJ", "YW", "Y", "YWJj\nYWJj", " YWJj", "YWJjZA"};
    char out[32];
    int size, result;
    size_t at;

    for (size = 1; size < 12; size++) {
        memset(out, '#', sizeof(out));
        result = lws_b64_encode_string("abcd", 4, out, size);
        printf("base64 in %d: %d %s\n", size, result, result < 0 ? "" : out);
        result = lws_b64_decode_string("YWJjZA==", out, size);
        printf("bytes in %d: %d %.*s\n", size, result, result, out);
    }
    for (at = 0; at < LWS_ARRAY_SIZE(texts); at++) {
        result = lws_b64_decode_string(texts[at], out, sizeof(out));
        printf("bytes of [%s]: %d %.*s\n", texts[at], result, result, out);
    }
}

static int destroyed;

static void destroy(void *element)
{
    destroyed += *(int *)element;
}

static void rings(void)
{
    static const int numbers[] = {1, 2, 3, 4, 5};
    struct lws_ring *ring = lws_ring_create(sizeof(int), 4, destroy);
    uint32_t tail = 0;
    int out[8] = {0}, round;

    for (round = 0; round < 5; round++) {
        size_t inserted = lws_ring_insert(ring, numbers, 5), waiting = lws_ring_get_count_waiting_elements(ring, &tail);
        size_t consumed = lws_ring_consume(ring, &tail, out, 2);
        const int *next = lws_ring_get_element(ring, &tail);

        printf("ring: %zu in, %zu wait, %zu out (%d %d), tail %u, oldest %u, next %d, free %zu\n", inserted, waiting, consumed, out[0],
               out[1], tail, lws_ring_get_oldest_tail(ring), next ? *next : 0, lws_ring_get_count_free_elements(ring));
        lws_ring_update_oldest_tail(ring, tail);
        printf("ring: destroyed %d, free %zu\n", destroyed, lws_ring_get_count_free_elements(ring));
    }
    printf("ring: %zu without a place, ", lws_ring_consume(ring, &tail, NULL, 9));
    printf("then element %s\n", lws_ring_get_element(ring, &tail) ? "there" : "none");
    lws_ring_destroy(ring);
    printf("ring: destroyed %d\n", destroyed);
}

static void texts(void)
{
    char out[16];
    int size, token;

    for (size = 0; size < 8; size++) {
        int result;

        memset(out, 0, sizeof(out));
        result = lws_snprintf(out, (size_t)size, "%s", "hello");
        printf("lws_snprintf %d: %d [%s] ", size, result, out);
        memset(out, 0, sizeof(out));
        if (size)
            lws_strncpy(out, "hello", (size_t)size);
        printf("lws_strncpy [%s]\n", out);
    }
    for (token = 0; token < 87; token++)
        printf("token %d [%s]\n", token, (const char *)lws_token_to_string((enum lws_token_indexes)token));
}

static void head(struct lws *wsi)
{
    const char *value;
    char text[64];
    int token, index, length;

    for (token = 0; token < WSI_TOKEN_COUNT; token++) {
        /* Several lines of a name have other spaces between them there. */
        if (token == WSI_TOKEN_HTTP_ACCEPT || !lws_hdr_total_length(wsi, token))
            continue;
        length = lws_hdr_copy(wsi, text, sizeof(text), token);
        printf("head %d: %d %d [%s]\n", token, lws_hdr_total_length(wsi, token), length, text);
    }
    for (index = 0; index < 4; index++) {
        length = lws_hdr_copy_fragment(wsi, text, sizeof(text), WSI_TOKEN_HTTP_URI_ARGS, index);
        printf("argument %d: %d [%s]\n", index, length, length < 0 ? "" : text);
    }
    for (length = 0; length < 5; length++)
        printf("host in %d: %d\n", length, lws_hdr_copy(wsi, text, length, WSI_TOKEN_HOST));
    value = lws_get_urlarg_by_name(wsi, "b=", text, sizeof(text));
    printf("b= is %s\n", value ? value : "none");
    printf("absent: %d %d\n", lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN), lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_ORIGIN));
    length = lws_hdr_custom_copy(wsi, text, sizeof(text), "x-test:", 7);
    printf("x-test: %d %d [%s]\n", lws_hdr_custom_length(wsi, "x-test:", 7), length, text);
    printf("X-Test: %d, x-test without colon: %d\n", lws_hdr_custom_length(wsi, "X-Test:", 7), lws_hdr_custom_length(wsi, "x-test", 6));
}

static void show(const char *what, int result, const unsigned char *begin, const unsigned char *end)
{
    printf("%s: %d\n%.*s", what, result, (int)(end - begin), (const char *)begin);
}

static void build(struct lws *wsi)
{
    unsigned char room[512], *at, *end = room + sizeof(room);
    int result;

#define SHOW(call) at = room, result = call, show(#call, result, room, at)
    SHOW(lws_add_http_header_status(wsi, 200, &at, end));
    SHOW(lws_add_http_header_status(wsi, 404, &at, end));
    SHOW(lws_add_http_header_status(wsi, 600, &at, end));
    SHOW(lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_CONTENT_TYPE, (const unsigned char *)"text/plain", 10, &at, end));
    SHOW(lws_add_http_header_by_name(wsi, (const unsigned char *)"X-A:", (const unsigned char *)"v", 1, &at, end));
    SHOW(lws_add_http_header_content_length(wsi, 123, &at, end));
    SHOW(lws_add_http_common_headers(wsi, 200, "text/html", 77, &at, end));
    SHOW(lws_add_http_common_headers(wsi, 200, "text/html", LWS_ILLEGAL_HTTP_CONTENT_LEN, &at, end));
    SHOW(lws_finalize_http_header(wsi, &at, end));
    SHOW(lws_add_http_header_status(wsi, 200, &at, room));
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length)
{
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        printf("request [%.*s]\n", (int)length, (const char *)in);
        head(wsi);
        build(wsi);
        fflush(stdout);
        return lws_return_http_status(wsi, 404, "<i>x</i>") || lws_http_transaction_completed(wsi) ? -1 : 0;
    case LWS_CALLBACK_CLOSED_HTTP:
        has_ended = 1;
        return 0;
    default:
        return 0;
    }
}

int main(int count, char **words)
{
    static const struct lws_protocols protocols[] = {{.name = "first", .callback = callback, .per_session_data_size = 8}, {0}};
    struct lws_context_creation_info info = {.protocols = protocols, .server_string = "srv", .iface = "127.0.0.1"};
    struct lws_context *context;

    if (count != 2)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    lws_set_log_level(LLL_ERR, NULL);
    uris();
    base64();
    rings();
    texts();
    info.port = atoi(words[1]);
    context = lws_create_context(&info);
    if (!context)
        return 1;
    printf("listening\n");
    while (!has_ended && lws_service(context, 1000) >= 0)
        ;
    lws_context_destroy(context);
    printf("ended\n");
    return 0;
}
