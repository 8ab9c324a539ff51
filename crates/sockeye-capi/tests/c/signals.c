/* A signal with a handler ends the wait of libwebsocket_service with -1; SIGPIPE ends nothing. */

#include "common.h"

static volatile sig_atomic_t interrupted;

static void note(int number)
{
    (void)number;
    interrupted = 1;
}

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)reason, (void)user, (void)in, (void)len;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"signals", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

int main(void)
{
    struct sigaction action = {.sa_handler = note};
    struct libwebsocket_context *context;
    int pipes[2], result;
    pid_t child;

    lws_set_log_level(LLL_ERR, quiet);
    context = libwebsocket_create_context(free_port(), NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    CHECK(context != NULL);
    CHECK(!pipe(pipes));
    close(pipes[0]);
    CHECK(write(pipes[1], "x", 1) == -1 && errno == EPIPE);
    say("SIGPIPE is harmless");

    sigaction(SIGUSR1, &action, NULL);
    child = fork();
    if (!child) {
        usleep(200000);
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    result = libwebsocket_service(context, 30000);
    CHECK(interrupted);
    say("interrupted: %d", result);
    waitpid(child, NULL, 0);
    CHECK(libwebsocket_service(context, 0) == 0);
    libwebsocket_context_destroy(context);
    close(pipes[1]);
    return finish();
}
