/*
 * An exception that leaves a callback: the process ends there and then, and says so. `throwing create` throws inside the call that makes
 * a context, `throwing service` inside a turn.
 */

#include <libwebsockets.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

static bool throws;

static int callback_all(struct libwebsocket_context *, struct libwebsocket *, enum libwebsocket_callback_reasons, void *, void *, size_t)
{
    if (!throws)
        return 0;
    std::puts("thrown");
    std::fflush(stdout);
    throw std::runtime_error("out of a callback");
}

static struct libwebsocket_protocols protocols[] = {
    {"throwing", callback_all, 0, nullptr, 0, 0, 0},
    {nullptr, nullptr, 0, nullptr, 0, 0, 0},
};

int main(int count, char **words)
{
    int port = count == 3 ? std::atoi(words[2]) : 0;

    try {
        throws = !std::strcmp(words[1], "create");
        libwebsocket_context *context =
            libwebsocket_create_context(port, nullptr, protocols, nullptr, nullptr, nullptr, nullptr, -1, -1, 0, nullptr);
        libwebsocket_client_connect(context, "127.0.0.1", port, 0, "/", "h", nullptr, "throwing", -1);
        throws = true;
        for (int turn = 0; turn < 100; turn++)
            libwebsocket_service(context, 100);
    } catch (...) {
        std::puts("caught, which is not to be");
    }
    return 0;
}
