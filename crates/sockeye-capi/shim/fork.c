/*
 * lws_daemonize: the program goes on in the background, in the middle of its main, with all it has set up.
 *
 * The lock is a lock on the open file, which the daemon inherits; so one that a dead daemon has left behind holds nothing and is taken over,
 * and there is no moment without it. The file has the number of the daemon in it, and is removed when the daemon ends.
 */

#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int lws_daemonize(const char *lock_path);

/* A lock may be removed by the one who held it between our open and our lock; then there is another. */
enum { ATTEMPTS = 100 };

/* Signals that a program in the background has no use for. */
static const int IGNORED[] = {SIGTSTP, SIGTTOU, SIGTTIN, SIGHUP};

/* Signals that end a daemon, unless the program has its own idea of them. */
static const int ENDING[] = {SIGTERM, SIGINT};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* `pid` is whose it is: first of the one who begins, then of the daemon. Written before any handler is installed. */
static struct {
    char path[PATH_MAX];
    int fd;
    pid_t pid;
} lock = {.fd = -1};

/* Whether the file at the path is the one that is open. */
static int is_at_its_path(void)
{
    struct stat open_file, named;

    return !fstat(lock.fd, &open_file) && !lstat(lock.path, &named) && open_file.st_dev == named.st_dev &&
           open_file.st_ino == named.st_ino;
}

/* Not in a child of the daemon. Only calls that a signal handler may make. */
static void remove_lock(void)
{
    if (lock.fd >= 0 && lock.pid == getpid() && is_at_its_path())
        unlink(lock.path);
}

static void end(int number)
{
    (void)number;
    remove_lock();
    _exit(0);
}

/* Of the program that calls, whose folder the daemon leaves. */
static int note_path(const char *path)
{
    char folder[PATH_MAX] = "";
    int length;

    if (path[0] != '/' && !getcwd(folder, sizeof(folder)))
        return -1;
    length = snprintf(lock.path, sizeof(lock.path), "%s%s%s", folder, folder[0] ? "/" : "", path);
    if (length >= (int)sizeof(lock.path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return 0;
}

/* A descriptor beyond the three that become /dev/null. */
static int beyond_standard(int fd)
{
    int moved, error;

    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    error = errno;
    close(fd);
    errno = error;
    return moved;
}

/* A file of one name, not what somebody else has put at the path. */
static int open_lock(void)
{
    struct stat file;
    int fd = beyond_standard(open(lock.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0640));

    if (fd >= 0 && (fstat(fd, &file) || !S_ISREG(file.st_mode) || file.st_nlink > 1)) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

static void forget_lock(void)
{
    if (lock.fd >= 0)
        close(lock.fd);
    lock.fd = -1;
}

/* The number in the lock, or "?": its daemon may be about to write it. */
static void refuse_second(void)
{
    char text[32] = "";
    ssize_t length = pread(lock.fd, text, sizeof(text) - 1, 0);

    text[length > 0 ? strspn(text, "0123456789") : 0] = '\0';
    fprintf(stderr, "Daemon already running from pid %s, aborting\n", text[0] ? text : "?");
    exit(1);
}

/* Ends the process if a daemon has the lock. */
static int take_lock(void)
{
    int attempt;

    for (attempt = 0; attempt < ATTEMPTS; attempt++) {
        lock.fd = open_lock();
        if (lock.fd < 0)
            return -1;
        if (flock(lock.fd, LOCK_EX | LOCK_NB)) {
            if (errno == EWOULDBLOCK && is_at_its_path())
                refuse_second();
            if (errno != EWOULDBLOCK)
                return -1;
        } else if (is_at_its_path()) {
            lock.pid = getpid();
            return 0;
        }
        forget_lock();
    }
    errno = EBUSY;
    return -1;
}

/* The one who began ends with what the daemon says; a daemon that ends without a word has failed. */
static void wait_for_daemon(int pipe, pid_t child)
{
    char word;
    ssize_t length;

    do
        length = read(pipe, &word, 1);
    while (length < 0 && errno == EINTR);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    if (length != 1)
        remove_lock();
    _exit(length == 1 ? 0 : 1);
}

static int write_number(void)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "%ld", (long)getpid());

    return ftruncate(lock.fd, 0) || pwrite(lock.fd, text, (size_t)length, 0) != length ? -1 : 0;
}

static int leave_terminal(void)
{
    int fd, null = open("/dev/null", O_RDWR);

    if (null < 0)
        return -1;
    for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (dup2(null, fd) < 0)
            return -1;
    if (null > STDERR_FILENO)
        close(null);
    umask(022);
    return chdir("/");
}

static void set_signals(void)
{
    struct sigaction present, action;
    size_t index;

    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    for (index = 0; index < LENGTH(IGNORED); index++)
        sigaction(IGNORED[index], &action, NULL);
    action.sa_handler = end;
    for (index = 0; index < LENGTH(ENDING); index++)
        if (!sigaction(ENDING[index], NULL, &present) && present.sa_handler == SIG_DFL)
            sigaction(ENDING[index], &action, NULL);
}

/* In the process between, which ends: the daemon is to lead no session, so that no terminal that it opens becomes its own. */
static void leave_session(void)
{
    pid_t daemon;

    if (setsid() < 0)
        _exit(1);
    daemon = fork();
    if (daemon)
        _exit(daemon < 0);
}

static void become_daemon(int pipe)
{
    char word = 1;

    leave_session();
    lock.pid = getpid();
    if (write_number() || leave_terminal() || atexit(remove_lock)) {
        remove_lock();
        _exit(1);
    }
    set_signals();
    if (write(pipe, &word, 1) != 1) {
        remove_lock();
        _exit(1);
    }
    close(pipe);
}

static int failed(const char *what, const char *path)
{
    _lws_log(LEVEL_ERR, "lws_daemonize: %s %s: %s\n", what, path, strerror(errno));
    remove_lock();
    forget_lock();
    return -1;
}

int lws_daemonize(const char *lock_path)
{
    int pipes[2];
    pid_t child;

    if (!lock_path || !*lock_path) {
        _lws_log(LEVEL_ERR, "lws_daemonize: it needs the path of a lock\n");
        return -1;
    }
    if (lock.fd >= 0 || sockeye_contexts() > 0) {
        const char *why = lock.fd >= 0 ? "this is a daemon" : "there is a context, which would not survive it";

        _lws_log(LEVEL_ERR, "lws_daemonize: %s\n", why);
        return -1;
    }
    if (note_path(lock_path) || take_lock())
        return failed("cannot lock", lock_path);
    if (pipe2(pipes, O_CLOEXEC))
        return failed("no pipe for", lock_path);
    pipes[0] = beyond_standard(pipes[0]);
    pipes[1] = beyond_standard(pipes[1]);
    /* What is in the buffers is to be written once. */
    fflush(NULL);
    child = pipes[0] < 0 || pipes[1] < 0 ? -1 : fork();
    if (child < 0) {
        int error = errno;

        close(pipes[0]);
        close(pipes[1]);
        errno = error;
        return failed("no process for", lock_path);
    }
    if (child > 0) {
        close(pipes[1]);
        wait_for_daemon(pipes[0], child);
    }
    close(pipes[0]);
    become_daemon(pipes[1]);
    return 0;
}
