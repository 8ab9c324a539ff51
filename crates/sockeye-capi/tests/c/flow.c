/* rx_flow_control: of the connection that is called, of another one, from main, and in ESTABLISHED. */

#include "common.h"

static struct libwebsocket *all[2];
static int count, received[2], stops_other, stops_itself, closes;

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    int index = wsi == all[1];

    (void)context, (void)user, (void)in;
    if (reason == LWS_CALLBACK_ESTABLISHED) {
        all[count++] = wsi;
        if (count == 1)
            CHECK(libwebsocket_rx_flow_control(wsi, 0) == 0);
    }
    if (reason == LWS_CALLBACK_RECEIVE) {
        received[index] += (int)len;
        if (stops_itself)
            CHECK(libwebsocket_rx_flow_control(wsi, 0) == 0);
        if (stops_other)
            CHECK(libwebsocket_rx_flow_control(all[!index], 0) == 0);
    }
    closes += reason == LWS_CALLBACK_CLOSED;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"flow", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    int port = free_port(), first, second;

    server(port, protocols);
    first = peer_upgrade(port, "/", "flow");
    UNTIL(count == 1);
    second = peer_upgrade(port, "/", "flow");
    UNTIL(count == 2);

    peer_frame(first, 0x81, "1", 1);
    turns(10);
    say("stopped in ESTABLISHED: %d", received[0]);
    CHECK(libwebsocket_rx_flow_control(all[0], 1) == 0);
    UNTIL(received[0] == 1);
    say("goes on from main: %d", received[0]);

    stops_itself = 1;
    peer_frame(first, 0x81, "23", 2);
    peer_frame(first, 0x81, "456", 3);
    UNTIL(received[0] == 3);
    turns(10);
    say("stops itself between frames: %d", received[0]);
    stops_itself = 0;
    CHECK(libwebsocket_rx_flow_control(all[0], 1) == 0);
    UNTIL(received[0] == 6);
    say("and goes on: %d", received[0]);

    stops_other = 1;
    peer_frame(second, 0x81, "x", 1);
    UNTIL(received[1] == 1);
    stops_other = 0;
    peer_frame(first, 0x81, "7", 1);
    turns(10);
    say("stopped by the other: %d", received[0]);
    CHECK(libwebsocket_rx_flow_control(all[0], 1) == 0);
    UNTIL(received[0] == 7);
    say("and goes on: %d", received[0]);

    close(first);
    close(second);
    UNTIL(closes == 2);
    return finish();
}
