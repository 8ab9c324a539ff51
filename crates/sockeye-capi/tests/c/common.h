/*
 * What the C programs of the tests share: a loop with a bound, peers that are nothing but sockets, and a log of what happened on
 * standard output, which is compared with NAME.out.
 */

#ifndef COMMON_H
#define COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <libwebsockets.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

/* A line of the log. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What must be true. If it is not, that is in the log, and `finish` tells it. */
void check(int is_true, const char *what, int line);
#define CHECK(condition) check(!!(condition), #condition, __LINE__)

/* What main returns. */
int finish(void);

/* Without LWS_CALLBACK_. */
const char *reason_name(int reason);

/* The four that are about descriptors. */
int is_poll_reason(int reason);

/* Lines that the library logged at ERR, once `quiet` is the sink. */
extern int errors;
void quiet(int level, const char *line);

/* A TCP port that is free. */
int free_port(void);

/* A listening context on `port`, and one that is not; they are served by `turn`. */
struct libwebsocket_context *server(int port, struct libwebsocket_protocols *protocols);
struct libwebsocket_context *client(struct libwebsocket_protocols *protocols);

/* Has `turn` serve a context that the program has made; NULL ends the program. */
struct libwebsocket_context *serve(struct libwebsocket_context *context);

/* Ends all. */
void destroy_all(void);

/* Serves all once. A turn in which nothing happens waits a little. */
void turn(void);

/* Turns until it is true; the program ends if that does not come. */
#define UNTIL(condition)                                                                                                        \
    do {                                                                                                                       \
        double until_begin = seconds();                                                                                        \
        while (!(condition)) {                                                                                                 \
            gave_up(until_begin, #condition, __LINE__);                                                                        \
            turn();                                                                                                            \
        }                                                                                                                      \
    } while (0)

/* Enough turns for what should not happen to happen. */
void turns(int count);

double seconds(void);
void gave_up(double begin, const char *what, int line);

/* A buffer with the room that libwebsocket_write wants: its payload. */
unsigned char *padded(const void *data, size_t len);
int write_text(struct libwebsocket *wsi, const char *text);

/*
 * Peers that are sockets. All of them turn while they wait.
 */

struct frame {
    int fin, rsv, opcode, is_masked;
    size_t len;
    unsigned char data[70000];
};

int peer_connect(int port);
void peer_send(int fd, const void *data, size_t len);
void peer_text(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Up to the empty line. The status, 0 at the end of the stream. */
int peer_head(int fd, char *head, size_t size);

/* Up to the end of the stream: how many bytes. */
size_t peer_rest(int fd, char *data, size_t size);

/* An upgrade that is accepted; `protocol` may be NULL. */
int peer_upgrade(int port, const char *path, const char *protocol);

/* A frame with this first byte, with a mask or without. */
void peer_frame(int fd, int first, const void *data, size_t len);
void peer_frame_plain(int fd, int first, const void *data, size_t len);

/* The next frame; 0 at the end of the stream. */
int peer_receive(int fd, struct frame *frame);
void say_frame(int fd, const char *who);

/* Turns until the stream has ended. */
void peer_until_end(int fd);

/* A listener, a connection to it, and its answer with a 101. */
int peer_listen(int *port);
int peer_accept(int listener);
void peer_answer(int fd, const char *head, const char *protocol);

#endif
