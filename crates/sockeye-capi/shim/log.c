/* Logging for C programs: a line is formatted here, and Rust knows the mask and the sink. */

#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes of a line, its NUL included. */
enum { LINE = 256 };

/* Bytes that a line of a dump shows. */
enum { ROW = 16 };

void lwsl_hexdump(void *buf, size_t len);

/*
 * A program may log between a call that failed and its look at errno, so that is kept. Sinks write, and a thread may be cancelled
 * there, so it is not to be cancelled here.
 */
void _lws_log(int filter, const char *format, ...)
{
    char text[LINE];
    int error = errno, state, length;
    va_list arguments;

    if (!format || !sockeye_log_wanted(filter))
        return;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    errno = error; /* for %m */
    va_start(arguments, format);
    length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof(text))
        text[sizeof(text) - 2] = '\n'; /* where it was cut, so that the next line begins on its own */
    if (length >= 0)
        sockeye_log_line(filter, text);
    errno = error;
    pthread_setcancelstate(state, NULL);
}

/* Its place, its bytes in hexadecimal, and those that are letters. */
void lwsl_hexdump(void *buf, size_t len)
{
    const unsigned char *bytes = buf;
    size_t begin, index;

    if (!bytes || !sockeye_log_wanted(LEVEL_DEBUG))
        return;
    for (begin = 0; begin < len; begin += ROW) {
        char numbers[3 * ROW + 1], letters[ROW + 1];
        size_t count = len - begin < ROW ? len - begin : ROW;

        memset(numbers, ' ', sizeof(numbers) - 1);
        numbers[sizeof(numbers) - 1] = '\0';
        for (index = 0; index < count; index++) {
            unsigned char byte = bytes[begin + index];

            numbers[3 * index] = "0123456789abcdef"[byte >> 4];
            numbers[3 * index + 1] = "0123456789abcdef"[byte & 15];
            letters[index] = byte >= ' ' && byte <= '~' ? (char)byte : '.';
        }
        letters[count] = '\0';
        _lws_log(LEVEL_DEBUG, "%04zx: %s %s\n", begin, numbers, letters);
    }
}
