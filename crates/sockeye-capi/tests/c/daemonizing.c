/* lws_daemonize: who ends with what, what the daemon is, and what becomes of the lock. */

#include "common.h"

#include <sys/prctl.h>
#include <sys/stat.h>

static char folder[] = "/tmp/sockeye-capi-daemon-XXXXXX";
static char lock[100], report[100];

static int callback_all(struct libwebsocket_context *context, struct libwebsocket *wsi,
                        enum libwebsocket_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)wsi, (void)reason, (void)user, (void)in, (void)len;
    return 0;
}

static struct libwebsocket_protocols protocols[] = {
    {"daemonizing", callback_all, 0, NULL, 0, 0, 0},
    {NULL, NULL, 0, NULL, 0, 0, 0},
};

/* In a process of its own, which may become a daemon that tells of itself in a fifo and lives until the test has read it. */
enum mode { RETURNS, WAITS, SERVES };

static long daemon_pid;

static int start(const char *path, enum mode mode)
{
    int status, fd;
    pid_t child;

    unlink(report);
    CHECK(!mkfifo(report, 0600));
    fd = open(report, O_RDONLY | O_NONBLOCK);
    fflush(stdout);
    child = fork();
    if (!child) {
        int kept = 7, words = open(report, O_WRONLY);
        struct libwebsocket_context *context = NULL;
        char folder_now[200];

        close(fd);
        if (lws_daemonize(path))
            _exit(77);
        if (mode == SERVES)
            context = libwebsocket_create_context(free_port(), NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
        dprintf(words, "%ld %d %d %d %d %d %o %s\n", (long)getpid(), kept == 7, getsid(0) != getpid(),
                isatty(0) || isatty(1) || isatty(2), write(1, "x", 1) == 1, mode != SERVES || context, (unsigned)umask(0),
                getcwd(folder_now, sizeof(folder_now)));
        close(words);
        for (; mode == WAITS;)
            pause();
        if (context) {
            libwebsocket_service(context, 0);
            libwebsocket_context_destroy(context);
        }
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    daemon_pid = 0;
    if (WEXITSTATUS(status) == 0) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        char text[300] = "";
        size_t length = 0;
        int end = 0;

        while (!end && poll(&poll_fd, 1, 30000) > 0) {
            ssize_t got = read(fd, text + length, sizeof(text) - 1 - length);

            length += got > 0 ? (size_t)got : 0;
            end = got == 0;
        }
        daemon_pid = atol(text);
        CHECK(strchr(text, ' '));
        say("    daemon: %.*s", (int)strcspn(strchr(text, ' '), "\n"), strchr(text, ' '));
    }
    close(fd);
    return WEXITSTATUS(status);
}

static int exists(void)
{
    struct stat file;

    return !lstat(lock, &file);
}

/* The daemon is a child of the test, which adopts orphans. */
static void until_gone(void)
{
    double begin = seconds();

    while (daemon_pid && !waitpid((pid_t)daemon_pid, NULL, WNOHANG)) {
        gave_up(begin, "the daemon ends", __LINE__);
        usleep(10000);
    }
}

static long number_in_lock(void)
{
    FILE *file = fopen(lock, "r");
    long number = -1;

    if (file) {
        CHECK(fscanf(file, "%ld", &number) == 1);
        fclose(file);
    }
    return number;
}

int main(void)
{
    struct libwebsocket_context *context;
    struct stat file;
    FILE *stale;

    /* A shell may have it ignored in what it starts in the background; the daemon would leave that as it is. */
    signal(SIGINT, SIG_DFL);
    CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1));
    lws_set_log_level(LLL_ERR, quiet);
    CHECK(mkdtemp(folder));
    snprintf(lock, sizeof(lock), "%s/lock", folder);
    snprintf(report, sizeof(report), "%s/report", folder);

    say("a daemon that serves once: %d", start(lock, SERVES));
    until_gone();
    say("the lock is %s", exists() ? "there" : "gone");

    say("a daemon that stays: %d", start(lock, WAITS));
    CHECK(number_in_lock() == daemon_pid);
    CHECK(!stat(lock, &file) && (file.st_mode & 0777) == 0640);
    {
        long first = daemon_pid;

        say("a second one: %d", start(lock, RETURNS));
        daemon_pid = first;
    }
    CHECK(!kill((pid_t)daemon_pid, SIGTERM));
    until_gone();
    say("SIGTERM: the lock is %s", exists() ? "there" : "gone");

    say("a daemon that stays: %d", start(lock, WAITS));
    CHECK(!kill((pid_t)daemon_pid, SIGHUP) && !kill((pid_t)daemon_pid, SIGINT));
    until_gone();
    say("SIGINT: the lock is %s", exists() ? "there" : "gone");

    say("a daemon that stays: %d", start(lock, WAITS));
    CHECK(!kill((pid_t)daemon_pid, SIGKILL));
    until_gone();
    say("SIGKILL: the lock is %s", exists() ? "there" : "gone");
    say("it is taken over: %d", start(lock, RETURNS));
    until_gone();
    say("the lock is %s", exists() ? "there" : "gone");

    /* The number of a process that lives, and is no daemon. */
    stale = fopen(lock, "w");
    fprintf(stale, "%ld", (long)getpid());
    fclose(stale);
    say("a file without a lock is taken over: %d", start(lock, RETURNS));
    until_gone();

    CHECK(!symlink("/tmp/sockeye-capi-nowhere", lock));
    say("a link: %d", start(lock, RETURNS));
    unlink(lock);
    say("no such folder: %d", start("/nonexistent/folder/lock", RETURNS));
    say("no path: %d", start(NULL, RETURNS));

    context = libwebsocket_create_context(free_port(), NULL, protocols, NULL, NULL, NULL, NULL, -1, -1, 0, NULL);
    errors = 0;
    CHECK(lws_daemonize(lock) == -1 && errors == 1 && !exists());
    say("not with a context");
    libwebsocket_context_destroy(context);

    unlink(report);
    CHECK(!chdir(folder));
    umask(027);
    say("a relative path: %d", start("lock", RETURNS));
    until_gone();
    CHECK(!exists());
    unlink(report);
    CHECK(!rmdir(folder));
    return finish();
}
