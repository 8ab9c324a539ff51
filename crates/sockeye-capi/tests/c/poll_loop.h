/* A poll loop of the program, by the book: its table must be exact, whatever the library announces. */

#ifndef POLL_LOOP_H
#define POLL_LOOP_H

#include "common.h"

enum { MOST = 1024 };

static struct pollfd table[MOST];
static int place[MOST], table_count, table_adds, table_deletes;

/* For protocol 0: true if the reason was one of these. */
static int poll_reason(enum libwebsocket_callback_reasons reason, void *user, size_t len)
{
    int fd = (int)(long)user;

    if (!is_poll_reason(reason))
        return 0;
    CHECK(fd >= 0 && fd < MOST);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    CHECK(reason == LWS_CALLBACK_DEL_POLL_FD || !(len & ~(size_t)(POLLIN | POLLOUT)));
    CHECK((reason == LWS_CALLBACK_ADD_POLL_FD) == (place[fd] == 0));
    switch (reason) {
    case LWS_CALLBACK_ADD_POLL_FD:
        table_adds++;
        table[table_count].fd = fd;
        table[table_count].events = (short)len;
        table[table_count].revents = 0;
        place[fd] = ++table_count;
        break;
    case LWS_CALLBACK_DEL_POLL_FD:
        table_deletes++;
        table[place[fd] - 1] = table[--table_count];
        place[table[place[fd] - 1].fd] = place[fd];
        place[fd] = 0;
        break;
    case LWS_CALLBACK_SET_MODE_POLL_FD:
        table[place[fd] - 1].events |= (short)len;
        break;
    default:
        table[place[fd] - 1].events &= (short)~len;
        break;
    }
    return 1;
}

/* One round: poll, then service_fd for what is ready. How many were. */
static int poll_round(struct libwebsocket_context *context, int timeout_ms)
{
    int ready = poll(table, (nfds_t)table_count, timeout_ms), index;

    for (index = 0; ready > 0 && index < table_count; index++)
        if (table[index].revents) {
            struct pollfd one = table[index];

            CHECK(libwebsocket_service_fd(context, &one) >= 0);
        }
    return ready;
}

#define POLL_UNTIL(context, condition)                                                                                          \
    do {                                                                                                                       \
        double until_begin = seconds();                                                                                        \
        while (!(condition)) {                                                                                                 \
            gave_up(until_begin, #condition, __LINE__);                                                                        \
            poll_round(context, 50);                                                                                           \
        }                                                                                                                      \
    } while (0)

#endif
