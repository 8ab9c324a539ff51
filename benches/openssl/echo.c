/*
 * What a server in C on OpenSSL does to echo messages over TLS: one thread, one epoll, and nothing that could be left out.
 *
 * It is meant to be hard to beat. A turn of a connection is one recv into a buffer that all share. The records in it are opened
 * from there, the answers are sealed together, in one record if they fit, and leave with one send. A long message is opened right
 * into its final place, unmasked where it lies, and sealed from there with the header in front: only OpenSSL copies it.
 * Idle connections hold no buffers (SSL_MODE_RELEASE_BUFFERS). It keeps no limits but that of a message, checks no UTF-8, knows no
 * fragments, and times nothing out.
 *
 *     cc -O3 -o openssl-echo echo.c -lssl -lcrypto
 *     openssl-echo PORT CERTIFICATE.pem KEY.pem
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RECEIVED = 512 * 1024,
    RECORD = 16 * 1024,
    /* Sealed at a time, and sent at once. */
    BATCH = 4 * RECORD,
    LONGEST = 16 * 1024 * 1024,
    /* The longest header of a server's frame, and of a client's. */
    HEAD = 10,
    MASKED_HEAD = 14,
    LONGEST_REQUEST = 16 * 1024,
    EVENTS = 1024,
    PEERS = 65536,
};

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct peer {
    int fd;
    SSL *ssl;
    int upgraded;
    /* A close frame was answered: the end of the connection follows. */
    int closing;
    /* EPOLLOUT is asked for. */
    int waits;
    /* The request so far. */
    char *request;
    size_t request_len;
    /* An incomplete header of a frame. */
    unsigned char head[MASKED_HEAD];
    unsigned head_len;
    /* An incomplete message, with room for the header of the answer in front. */
    unsigned char *message;
    unsigned opcode;
    unsigned char mask[4];
    size_t message_len, message_have;
    /* An answer that is being sent: what of it was not sealed. */
    unsigned char *answer;
    size_t answer_at, answer_end;
    /* Sealed bytes that the socket did not take. */
    unsigned char *unsent;
    size_t unsent_at, unsent_len;
    /* What was received, and is not opened before the socket takes the rest of an answer. */
    unsigned char *kept;
    size_t kept_len;
};

static int poller;
static SSL_CTX *context;
static BIO_METHOD *method;
static struct peer *peers[PEERS];

/* What the peer whose turn it is has received and not opened, and what was sealed for it. */
static unsigned char received[RECEIVED];
static size_t received_at, received_len;
static unsigned char *sealed;
static size_t sealed_len, sealed_size;
/* Plaintext of one record, and answers to several messages. */
static unsigned char plain[RECORD + 64];
static unsigned char reply[RECEIVED + 4096];
static size_t reply_len;

static void fail(const char *what) {
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static int bio_read(BIO *bio, char *to, int len) {
    size_t rest = received_len - received_at;
    BIO_clear_retry_flags(bio);
    if (rest == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if ((size_t)len > rest) len = (int)rest;
    memcpy(to, received + received_at, (size_t)len);
    received_at += (size_t)len;
    return len;
}

static int bio_write(BIO *bio, const char *from, int len) {
    BIO_clear_retry_flags(bio);
    if (sealed_len + (size_t)len > sealed_size) {
        sealed_size = 2 * (sealed_len + (size_t)len);
        sealed = realloc(sealed, sealed_size);
        if (!sealed) fail("realloc");
    }
    memcpy(sealed + sealed_len, from, (size_t)len);
    sealed_len += (size_t)len;
    return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static int alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *arg) {
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl, (void)arg;
    int found = SSL_select_next_proto((unsigned char **)out, out_len, ours, sizeof ours - 1, in, in_len);
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void configure(const char *certificate, const char *key) {
    context = SSL_CTX_new(TLS_server_method());
    if (!context) fail("SSL_CTX_new");
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Tickets hold the session: nothing is kept here. One is enough. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"echo", 4);
    /* As much is read from the shared buffer at once as there is room for: a record's header is no read of its own. */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_alpn_select_cb(context, alpn, NULL);
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) fail(certificate);
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) fail(key);
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "shared");
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    BIO_meth_set_create(method, bio_create);
}

/* `at` is where in the payload `bytes` begin. */
__attribute__((target_clones("avx2", "default"))) static void unmask(unsigned char *bytes, size_t len, const unsigned char *mask, size_t at) {
    unsigned char turned[8];
    for (unsigned i = 0; i < 8; i++) turned[i] = mask[(at + i) & 3];
    uint64_t wide;
    memcpy(&wide, turned, 8);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        word ^= wide;
        memcpy(bytes + i, &word, 8);
    }
    for (; i < len; i++) bytes[i] ^= turned[i & 7];
}

/* Writes the header of an answer; returns its length. */
static size_t put_head(unsigned char *to, unsigned opcode, size_t len) {
    to[0] = (unsigned char)(0x80 | opcode);
    if (len < 126) {
        to[1] = (unsigned char)len;
        return 2;
    }
    if (len < 65536) {
        to[1] = 126;
        to[2] = (unsigned char)(len >> 8);
        to[3] = (unsigned char)len;
        return 4;
    }
    to[1] = 127;
    for (int i = 0; i < 8; i++) to[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
    return 10;
}

static void drop(struct peer *peer) {
    peers[peer->fd] = NULL;
    SSL_free(peer->ssl);
    close(peer->fd);
    free(peer->request);
    free(peer->message);
    free(peer->answer);
    free(peer->unsent);
    free(peer->kept);
    free(peer);
}

static void ask(struct peer *peer, int waits) {
    if (peer->waits == waits) return;
    peer->waits = waits;
    /* What arrives waits until the answers have left. */
    struct epoll_event event = {.events = waits ? EPOLLOUT : EPOLLIN, .data.fd = peer->fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, peer->fd, &event);
}

/* Sends what was sealed; what the socket does not take is kept. Returns 0 if the connection is broken. */
static int flush(struct peer *peer) {
    ssize_t sent = 0;
    if (sealed_len == 0) return 1;
    if (!peer->unsent) {
        sent = send(peer->fd, sealed, sealed_len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return 0;
        if (sent < 0) sent = 0;
    }
    size_t rest = sealed_len - (size_t)sent;
    if (rest > 0) {
        unsigned char *grown = realloc(peer->unsent, peer->unsent_len + rest);
        if (!grown) return 0;
        memcpy(grown + peer->unsent_len, sealed + sent, rest);
        peer->unsent = grown;
        peer->unsent_len += rest;
    }
    sealed_len = 0;
    return 1;
}

/* Seals `len` bytes. Returns 0 if that failed. */
static int seal(struct peer *peer, const unsigned char *bytes, size_t len) {
    return len == 0 || SSL_write(peer->ssl, bytes, (int)len) == (int)len;
}

/* Goes on with the answer that is being sent, as far as the socket takes it. */
static int send_answer(struct peer *peer) {
    while (peer->answer && !peer->unsent) {
        size_t rest = peer->answer_end - peer->answer_at;
        size_t now = rest < BATCH ? rest : BATCH;
        if (!seal(peer, peer->answer + peer->answer_at, now) || !flush(peer)) return 0;
        peer->answer_at += now;
        if (now == rest) {
            free(peer->answer);
            peer->answer = NULL;
        }
    }
    return 1;
}

/* The answers of this turn so far leave, in as few records as can be. */
static int send_reply(struct peer *peer) {
    int ok = seal(peer, reply, reply_len) && flush(peer);
    reply_len = 0;
    return ok;
}

/* Answers a frame that is there as a whole. Returns 0 to end the connection. */
static int answer_frame(struct peer *peer, unsigned opcode, unsigned char *payload, size_t len) {
    if (opcode == PONG) return 1;
    if (reply_len + HEAD + len > sizeof reply && !send_reply(peer)) return 0;
    reply_len += put_head(reply + reply_len, opcode == PING ? PONG : opcode, len);
    memcpy(reply + reply_len, payload, len);
    reply_len += len;
    peer->closing |= opcode == CLOSE;
    return 1;
}

/* A message is complete: the answer is what it is, with another header in front. */
static int answer_message(struct peer *peer) {
    if (peer->opcode >= CLOSE) {
        int ok = answer_frame(peer, peer->opcode, peer->message + HEAD, peer->message_len);
        free(peer->message);
        peer->message = NULL;
        return ok;
    }
    size_t head = peer->message_len < 126 ? 2 : peer->message_len < 65536 ? 4 : 10;
    peer->answer = peer->message;
    peer->message = NULL;
    peer->answer_at = HEAD - head;
    peer->answer_end = HEAD + peer->message_len;
    put_head(peer->answer + peer->answer_at, peer->opcode, peer->message_len);
    return send_reply(peer) && send_answer(peer);
}

/* Takes frames from plaintext. Returns 0 to end the connection. */
static int take_frames(struct peer *peer, unsigned char *bytes, size_t len) {
    while (len > 0 && !peer->closing) {
        /* The header, from what was kept and what has come. */
        unsigned char *head = bytes;
        size_t had = peer->head_len, have = len;
        if (had > 0) {
            size_t take = len < MASKED_HEAD - had ? len : MASKED_HEAD - had;
            memcpy(peer->head + had, bytes, take);
            head = peer->head;
            have = had + take;
        }
        size_t need = 6;
        if (have >= 2) need = (head[1] & 127) == 127 ? 14 : (head[1] & 127) == 126 ? 8 : 6;
        if (have < need) {
            if (had == 0) memcpy(peer->head, bytes, have);
            peer->head_len = (unsigned)have;
            return 1;
        }
        unsigned opcode = head[0] & 15;
        /* Masked, final, no extension. */
        if ((head[0] & 0xf0) != 0x80 || !(head[1] & 0x80) || opcode == CONTINUATION) return 0;
        uint64_t size = head[1] & 127;
        if (size == 126) size = (uint64_t)head[2] << 8 | head[3];
        else if (size == 127) {
            size = 0;
            for (int i = 0; i < 8; i++) size = size << 8 | head[2 + i];
        }
        if (size > LONGEST) return 0;
        unsigned char mask[4];
        memcpy(mask, head + need - 4, 4);
        bytes += need - had;
        len -= need - had;
        peer->head_len = 0;
        if (size <= len) {
            unmask(bytes, size, mask, 0);
            if (!answer_frame(peer, opcode, bytes, size)) return 0;
            bytes += size;
            len -= size;
            continue;
        }
        peer->message = malloc(HEAD + size);
        if (!peer->message) return 0;
        peer->opcode = opcode;
        peer->message_len = size;
        peer->message_have = len;
        memcpy(peer->mask, mask, 4);
        memcpy(peer->message + HEAD, bytes, len);
        unmask(peer->message + HEAD, len, mask, 0);
        return 1;
    }
    return 1;
}

static int upgrade(struct peer *peer, const unsigned char *bytes, size_t len) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    if (peer->request_len + len > LONGEST_REQUEST) return 0;
    char *grown = realloc(peer->request, peer->request_len + len + 1);
    if (!grown) return 0;
    peer->request = grown;
    memcpy(grown + peer->request_len, bytes, len);
    peer->request_len += len;
    grown[peer->request_len] = 0;
    char *end = strstr(grown, "\r\n\r\n");
    if (!end) return 1;
    char *key = strcasestr(grown, "\r\nsec-websocket-key:");
    if (!key || key > end) return 0;
    key += strlen("\r\nsec-websocket-key:");
    key += strspn(key, " \t");
    char text[24 + sizeof guid];
    memcpy(text, key, 24);
    memcpy(text + 24, guid, sizeof guid);
    unsigned char digest[SHA_DIGEST_LENGTH];
    char accept[32];
    SHA1((unsigned char *)text, 24 + sizeof guid - 1, digest);
    EVP_EncodeBlock((unsigned char *)accept, digest, sizeof digest);
    reply_len = (size_t)snprintf((char *)reply, sizeof reply,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    peer->upgraded = 1;
    unsigned char rest[LONGEST_REQUEST];
    size_t used = (size_t)(end + 4 - grown), left = peer->request_len - used;
    memcpy(rest, grown + used, left);
    free(peer->request);
    peer->request = NULL;
    return take_frames(peer, rest, left);
}

/* Opens what was received and answers it, until the socket is full. Returns 0 to end the connection. */
static int open_records(struct peer *peer) {
    while (!peer->unsent && !peer->closing) {
        unsigned char *place = peer->message ? peer->message + HEAD + peer->message_have : plain;
        size_t room = peer->message ? peer->message_len - peer->message_have : sizeof plain;
        int got = SSL_read(peer->ssl, place, (int)room);
        if (got <= 0) {
            int error = SSL_get_error(peer->ssl, got);
            ERR_clear_error();
            /* An alert may have been sealed: it goes with the end. */
            return error == SSL_ERROR_WANT_READ || (flush(peer), 0);
        }
        if (!peer->message) {
            if (!(peer->upgraded ? take_frames(peer, plain, (size_t)got) : upgrade(peer, plain, (size_t)got))) return 0;
            continue;
        }
        unmask(place, (size_t)got, peer->mask, peer->message_have);
        peer->message_have += (size_t)got;
        if (peer->message_have == peer->message_len && !answer_message(peer)) return 0;
    }
    return 1;
}

/* What waits for the socket leaves, as far as it takes it. Returns 0 if the connection is broken. */
static int go_on_sending(struct peer *peer) {
    ssize_t sent = send(peer->fd, peer->unsent + peer->unsent_at, peer->unsent_len - peer->unsent_at, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    peer->unsent_at += (size_t)sent;
    if (peer->unsent_at < peer->unsent_len) return 1;
    free(peer->unsent);
    peer->unsent = NULL;
    peer->unsent_at = peer->unsent_len = 0;
    return send_answer(peer);
}

/* One turn of a connection. Returns 0 to end it. */
static int turn(struct peer *peer) {
    sealed_len = reply_len = received_at = received_len = 0;
    if (peer->unsent && (!go_on_sending(peer) || peer->unsent)) return peer->unsent != NULL;
    if (peer->kept) {
        memcpy(received, peer->kept, peer->kept_len);
        received_len = peer->kept_len;
        free(peer->kept);
        peer->kept = NULL;
    } else if (!peer->waits) {
        ssize_t got = recv(peer->fd, received, sizeof received, 0);
        if (got < 0) return errno == EAGAIN || errno == EINTR;
        if (got == 0) return 0;
        received_len = (size_t)got;
    }
    /* When it has waited, OpenSSL may hold records that it has read ahead. */
    if (!open_records(peer) || !send_reply(peer) || !flush(peer)) return 0;
    size_t rest = received_len - received_at;
    if (rest > 0) {
        peer->kept = malloc(rest);
        if (!peer->kept) return 0;
        memcpy(peer->kept, received + received_at, rest);
        peer->kept_len = rest;
    }
    if (peer->closing && !peer->unsent) {
        SSL_shutdown(peer->ssl);
        flush(peer);
        return 0;
    }
    ask(peer, peer->unsent != NULL);
    return 1;
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int on = 1;
        struct peer *peer = fd < PEERS ? calloc(1, sizeof *peer) : NULL;
        SSL *ssl = peer ? SSL_new(context) : NULL;
        BIO *bio = ssl ? BIO_new(method) : NULL;
        if (!bio) fail("no memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        SSL_set_bio(ssl, bio, bio);
        SSL_set_accept_state(ssl);
        peer->fd = fd;
        peer->ssl = ssl;
        peers[fd] = peer;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
    }
}

static void end(int number) {
    (void)number;
    _exit(0);
}

int main(int count, char **words) {
    if (count != 4) {
        fprintf(stderr, "usage: openssl-echo PORT CERTIFICATE.pem KEY.pem\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, end);
    configure(words[2], words[3]);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 4096)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &len);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event)) fail("epoll_ctl");
    printf("listening on wss://127.0.0.1:%d/\n", ntohs(address.sin_port));
    fflush(stdout);
    static struct epoll_event events[EVENTS];
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener) accept_all(listener);
            else if (peers[events[i].data.fd] && !turn(peers[events[i].data.fd])) drop(peers[events[i].data.fd]);
        }
    }
}
