/* Logging and formatting for C programs of 4.1.6: what has a variable number of arguments, and lines as that version writes them. */

#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Bytes of a line, its NUL included. */
enum { LINE = 256 };

/* What a line that was cut ends with. */
#define CUT "...\n"

int lws_snprintf(char *str, size_t size, const char *format, ...);
void _lws_logv(int filter, const char *format, va_list arguments);
void lwsl_emit_stderr(int level, const char *line);
int lwsl_timestamp(int level, char *p, int len);
int lwsl_visible(int level);

/* The length of what is in `str`; `size` if it was cut. */
int lws_snprintf(char *str, size_t size, const char *format, ...)
{
    va_list arguments;
    int length;

    if (!size || !str)
        return 0;
    va_start(arguments, format);
    length = vsnprintf(str, size, format, arguments);
    va_end(arguments);
    if (length < 0) {
        str[0] = '\0';
        return 0;
    }
    return length < (int)size ? length : (int)size;
}

/*
 * A program may log between a call that failed and its look at errno, so that is kept. Sinks write, and a thread may be cancelled
 * there, so it is not to be cancelled here.
 */
void _lws_logv(int filter, const char *format, va_list arguments)
{
    char text[LINE];
    int error = errno, state, length;

    if (!format || !sockeye_log_wanted(filter))
        return;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    errno = error; /* for %m */
    length = vsnprintf(text, sizeof(text), format, arguments);
    if (length >= (int)sizeof(text))
        memcpy(text + sizeof(text) - sizeof(CUT), CUT, sizeof(CUT));
    if (length >= 0)
        sockeye_log_line(filter, text);
    errno = error;
    pthread_setcancelstate(state, NULL);
}

void _lws_log(int filter, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    _lws_logv(filter, format, arguments);
    va_end(arguments);
}

int lwsl_visible(int level)
{
    return sockeye_log_wanted(level);
}

static const char *letter(int level)
{
    static const char *const letters[] = {"E", "W", "N", "I", "D", "P", "H", "EXT", "C", "L", "U", "T"};
    size_t index;

    for (index = 0; index < sizeof(letters) / sizeof(letters[0]); index++)
        if (level == 1 << index)
            return letters[index];
    return "";
}

/* Local time to 100 microseconds, and the letter of the level. Returns its length. */
int lwsl_timestamp(int level, char *p, int len)
{
    struct timespec now;
    struct tm parts;

    if (!p || len < 1)
        return 0;
    p[0] = '\0';
    if (clock_gettime(CLOCK_REALTIME, &now) || !localtime_r(&now.tv_sec, &parts))
        return 0;
    return lws_snprintf(p, (size_t)len, "[%04d/%02d/%02d %02d:%02d:%02d:%04ld] %s: ", parts.tm_year + 1900, parts.tm_mon + 1,
                        parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec / 100000, letter(level));
}

void lwsl_emit_stderr(int level, const char *line)
{
    char stamp[64];

    lwsl_timestamp(level, stamp, sizeof(stamp));
    fprintf(stderr, "%s%s", stamp, line);
}

/* What the library writes itself, before a program says otherwise. */
static void __attribute__((constructor)) set_default(void)
{
    sockeye_log_default(lwsl_emit_stderr);
}

/* A function that is there so that programs start, and that nobody has asked for yet. It does not lie about what it did. */
void sockeye_unimplemented(const char *name)
{
    _lws_log(LEVEL_ERR, "%s is unimplemented in this library; the program is ended\n", name);
    fprintf(stderr, "libwebsockets.so.17 (Sockeye): %s is unimplemented; the program is ended\n", name);
    abort();
}
