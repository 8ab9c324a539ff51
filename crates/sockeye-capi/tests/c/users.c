/* The user and the group that a context changes to, once it listens. Only root may: run.py leaves it out for others. */

#include "common.h"

enum { SOMEONE = 65534 };

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)reason, (void)user, (void)in, (void)len;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"users", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

static struct libwebsocket_context *create(int gid, int uid)
{
    lws_set_log_level(LLL_ERR, quiet);
    return libwebsocket_create_context(free_port(), NULL, protocols, NULL, NULL, NULL, NULL, gid, uid, 0, NULL);
}

static int as_someone(void)
{
    struct libwebsocket_context *context = create(SOMEONE, SOMEONE);
    uid_t users[3];
    gid_t groups[3];

    if (!context || getresuid(&users[0], &users[1], &users[2]) || getresgid(&groups[0], &groups[1], &groups[2]))
        return 1;
    if (users[0] != SOMEONE || users[1] != SOMEONE || users[2] != SOMEONE)
        return 2;
    if (groups[0] != SOMEONE || groups[1] != SOMEONE || groups[2] != SOMEONE)
        return 3;
    /* There is no way back, and none to others. */
    if (!setuid(0) || !setgid(0) || create(0, 0))
        return 4;
    if (libwebsocket_service(context, 0))
        return 5;
    libwebsocket_context_destroy(context);
    return 0;
}

static int only_the_group(void)
{
    struct libwebsocket_context *context = create(SOMEONE, -1);

    if (!context || getgid() != SOMEONE || getuid() != 0)
        return 1;
    libwebsocket_context_destroy(context);
    return 0;
}

/* In a child, since there is no way back. */
static void run(const char *what, int (*act)(void))
{
    int status = -1;
    pid_t child = fork();

    if (!child)
        _exit(act());
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    say("%s: %d", what, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

int main(void)
{
    CHECK(geteuid() == 0);
    run("someone", as_someone);
    run("only the group", only_the_group);
    CHECK(getuid() == 0 && getgid() == 0);
    return finish();
}
