/* Base64, randomness, the addresses of peers, and the extensions. */

#include "common.h"

static struct libwebsocket *only;
static int closes;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    char name[100], address[100];

    (void)in, (void)len;
    if (reason == LWS_CALLBACK_FILTER_NETWORK_CONNECTION || reason == LWS_CALLBACK_ESTABLISHED) {
        int fd = reason == LWS_CALLBACK_ESTABLISHED ? libwebsocket_get_socket_fd(wsi) : (int)(long)user;

        libwebsockets_get_peer_addresses(context, wsi, fd, name, sizeof(name), address, sizeof(address));
        CHECK(name[0] != '\0');
        say("%s: %s", reason_name(reason), address);
        libwebsockets_get_peer_addresses(context, wsi, fd, name, 3, address, 4);
        CHECK(strlen(name) <= 2 && strlen(address) <= 3);
    }
    if (reason == LWS_CALLBACK_ESTABLISHED)
        only = wsi;
    closes += reason == LWS_CALLBACK_CLOSED;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"utilities", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static void base64(const char *text)
{
    char encoded[100], decoded[100];
    int length = (int)strlen(text), size = (length + 2) / 3 * 4;

    memset(encoded, '#', sizeof(encoded));
    CHECK(lws_b64_encode_string(text, length, encoded, size + 1) == size);
    CHECK(encoded[size] == '\0' && encoded[size + 1] == '#');
    CHECK(lws_b64_encode_string(text, length, encoded, size) == -1);
    CHECK(lws_b64_encode_string(text, length, encoded, sizeof(encoded)) == size);
    memset(decoded, '#', sizeof(decoded));
    CHECK(lws_b64_decode_string(encoded, decoded, length + 1) == length);
    CHECK(!memcmp(decoded, text, (size_t)length + 1) && decoded[length + 1] == '#');
    CHECK(length == 0 || lws_b64_decode_string(encoded, decoded, length) == -1);
    say("'%s' is '%s'", text, encoded);
}

int main(void)
{
    unsigned char bytes[2000], none[2000] = {0};
    char name[10] = "?", address[10] = "?";
    int port = free_port(), fd, index;
    struct libwebsocket_context *context = server(port, protocols);

    base64("");
    base64("f");
    base64("fo");
    base64("foo");
    base64("foob");
    base64("any carnal pleasure");

    memset(bytes, 0, sizeof(bytes));
    CHECK(libwebsockets_get_random(context, bytes, sizeof(bytes)) == (int)sizeof(bytes));
    for (index = 0; index < 2000; index += 100)
        CHECK(memcmp(bytes + index, none, 100));
    CHECK(libwebsockets_get_random(context, bytes, 0) == 0);

    fd = peer_upgrade(port, "/", "utilities");
    UNTIL(only);
    libwebsockets_get_peer_addresses(context, NULL, -1, name, sizeof(name), address, sizeof(address));
    say("unknown: '%s' '%s'", name, address);
    CHECK(libwebsocket_read(context, only, bytes, 10) == -1);
    close(fd);
    UNTIL(closes == 1);
    return finish();
}
