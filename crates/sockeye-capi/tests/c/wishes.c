/* callback_on_writable: one callback for any number of wishes, in a later turn, from anywhere. */

#include "common.h"

static struct libwebsocket *all[2];
static int count, asks_again, asks_all, writeables[2], services, most_of_one_service, of_this_service, closes;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    int index = wsi == all[1];

    (void)user, (void)in, (void)len;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        all[count++] = wsi;
        break;
    case LWS_CALLBACK_RECEIVE:
        if (asks_all)
            CHECK(libwebsocket_callback_on_writable_all_protocol(libwebsockets_get_protocol(wsi)) == 0);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        writeables[index]++;
        of_this_service++;
        if (asks_again && asks_again--)
            CHECK(libwebsocket_callback_on_writable(context, wsi) == 1);
        break;
    case LWS_CALLBACK_CLOSED:
        closes++;
        break;
    default:
        break;
    }
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"wishes", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    int port = free_port(), first, second;
    struct libwebsocket_context *context = server(port, protocols);

    first = peer_upgrade(port, "/", "wishes");
    UNTIL(count == 1);
    second = peer_upgrade(port, "/", "wishes");
    UNTIL(count == 2);
    turns(5);
    CHECK(!writeables[0] && !writeables[1]);

    CHECK(libwebsocket_callback_on_writable(context, all[0]) == 1);
    CHECK(libwebsocket_callback_on_writable(context, all[0]) == 1);
    UNTIL(writeables[0]);
    turns(5);
    say("asked twice from main: %d and %d", writeables[0], writeables[1]);

    writeables[0] = 0;
    asks_again = 20;
    CHECK(libwebsocket_callback_on_writable(context, all[0]) == 1);
    while (writeables[0] < 21 && services < 1000) {
        of_this_service = 0;
        CHECK(libwebsocket_service(context, 100) == 0);
        services++;
        if (of_this_service > most_of_one_service)
            most_of_one_service = of_this_service;
    }
    say("asked again inside, 20 times: %d, at most %d in a service", writeables[0], most_of_one_service);

    writeables[0] = 0;
    CHECK(libwebsocket_callback_on_writable_all_protocol(&protocols[0]) == 0);
    UNTIL(writeables[0] && writeables[1]);
    turns(5);
    say("for all, from main: %d and %d", writeables[0], writeables[1]);

    writeables[0] = writeables[1] = 0;
    asks_all = 1;
    peer_frame(first, 0x81, "x", 1);
    UNTIL(writeables[0] && writeables[1]);
    turns(5);
    say("for all, inside RECEIVE: %d and %d", writeables[0], writeables[1]);

    close(second);
    UNTIL(closes == 1);
    CHECK(libwebsocket_callback_on_writable(context, all[1]) == -1);
    close(first);
    UNTIL(closes == 2);
    return finish();
}
