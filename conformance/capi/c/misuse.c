/*
 * What programs ought not to do, and calls from other threads, on our library only: pointers to what has ended, service in a
 * callback, destruction in a callback, calls while another thread serves. Nothing of it may touch memory that is not there.
 */

#include <libwebsockets.h>

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static struct lws_context *context;
static struct lws *_Atomic opened, *dead;
static atomic_int closed, destroyed, received, writeable, has_ended, depth, ends;

struct session {
    int opened;
};

/* Every function, with a pointer that means nothing. */
static void use(struct lws *wsi)
{
    unsigned char room[LWS_PRE + 64], *at = room + LWS_PRE, *end = room + sizeof(room);
    char text[32];

    assert(lws_write(wsi, at, 4, LWS_WRITE_TEXT) == -1);
    assert(lws_callback_on_writable(wsi) <= 0);
    assert(lws_get_context(wsi) == NULL);
    assert(lws_get_protocol(wsi) == NULL);
    assert(lws_get_vhost(wsi) == NULL);
    assert(lws_get_socket_fd(wsi) == -1);
    assert(lws_wsi_user(wsi) == NULL);
    assert(lws_hdr_total_length(wsi, WSI_TOKEN_HOST) == 0);
    assert(lws_return_http_status(wsi, 404, NULL) == -1);
    assert(lws_add_http_header_status(wsi, 200, &at, end) == 0);
    assert(lws_is_final_fragment(wsi) == 0 && lws_is_first_fragment(wsi) == 0 && lws_remaining_packet_payload(wsi) == 0);
    assert(lws_send_pipe_choked(wsi) == 1);
    lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
    lws_validity_confirmed(wsi);
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    lws_set_timer_usecs(wsi, 1);
    lws_rx_flow_control(wsi, 0);
    lws_set_wsi_user(wsi, room);
    lws_set_opaque_user_data(wsi, room);
    lws_get_peer_simple(wsi, text, sizeof(text));
    assert(lws_http_transaction_completed(wsi) == 0);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length)
{
    struct session *session = user;
    unsigned char room[LWS_PRE + 126] = {0};

    (void)in;
    assert(atomic_fetch_add(&depth, 1) == 0 || reason == LWS_CALLBACK_PROTOCOL_INIT);
    assert(lws_get_context(wsi) == context && lws_get_vhost(wsi) && lws_get_protocol(wsi));
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        assert(session && !session->opened++);
        opened = wsi;
        assert(lws_service(context, 0) < 0);
        assert(lws_write(wsi, room + LWS_PRE, SIZE_MAX, LWS_WRITE_TEXT) == -1);
        assert(lws_write(wsi, room + LWS_PRE, 126, LWS_WRITE_PING) == -1 && lws_write(wsi, room + LWS_PRE, 126, LWS_WRITE_PONG) == -1);
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_RECEIVE:
        assert(session->opened);
        memcpy(room + LWS_PRE, "echo", 4);
        assert(lws_write(wsi, room + LWS_PRE, 4, LWS_WRITE_TEXT) == 4);
        received++;
        if (length == 4 && !memcmp(in, "kill", 4)) {
            /* More than fits into a frame, and no UTF-8. */
            memset(room, 0xff, 124);
            lws_close_reason(wsi, LWS_CLOSE_STATUS_POLICY_VIOLATION, room, SIZE_MAX);
            lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, room, 124);
            depth--;
            return -1;
        }
        if (length == 3 && !memcmp(in, "end", 3))
            lws_context_destroy(context);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        writeable++;
        break;
    case LWS_CALLBACK_CLOSED:
        assert(session && session->opened == 1 && opened == wsi);
        opened = NULL;
        dead = wsi;
        assert(lws_write(wsi, room + LWS_PRE, 4, LWS_WRITE_TEXT) == -1);
        closed++;
        break;
    case LWS_CALLBACK_WSI_DESTROY:
        destroyed++;
        break;
    case LWS_CALLBACK_PROTOCOL_DESTROY:
        ends++;
        break;
    default:
        break;
    }
    depth--;
    return 0;
}

/* Asks, writes and cancels while the other thread serves. */
static void *foreign(void *unused)
{
    unsigned char room[LWS_PRE + 8] = {0};
    int round;

    (void)unused;
    for (round = 0; !has_ended; round++) {
        struct lws *wsi = opened;

        if (wsi && round % 3 == 0)
            lws_callback_on_writable(wsi);
        if (wsi && round % 64 == 1)
            lws_write(wsi, room + LWS_PRE, 1, LWS_WRITE_BINARY);
        if (round % 256 == 2)
            lws_cancel_service(context);
        lws_callback_on_writable(NULL);
        sched_yield();
    }
    return NULL;
}

static void count(lws_sorted_usec_list_t *timer)
{
    assert(timer->list.owner == NULL);
    timer->latency_us++;
}

/* What keeps others out, and is not there, is refused: without it the port would be open to all. */
static void refuse(struct lws_context_creation_info info)
{
    info.options |= LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND;
    info.server_ssl_cert_mem = "certificate";
    info.server_ssl_cert_mem_len = 11;
    assert(!lws_create_context(&info));
    info.server_ssl_cert_mem = NULL;
    info.ssl_cert_filepath = info.ssl_private_key_filepath = "/dev/null";
    assert(!lws_create_context(&info));
    info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT;
    assert(!lws_create_context(&info));
}

int main(int argc, char **words)
{
    static const struct lws_protocols protocols[] = {
        {.name = "first", .callback = callback, .per_session_data_size = sizeof(struct session)}, {0}};
    struct lws_context_creation_info info = {.protocols = protocols, .iface = "127.0.0.1"};
    static lws_sorted_usec_list_t timer, other;
    pthread_t thread;
    long often;

    if (argc != 3)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    lws_set_log_level(0, NULL);
    info.port = atoi(words[1]);
    often = atol(words[2]);
    refuse(info);
    context = lws_create_context(&info);
    assert(context);
    printf("listening\n");
    pthread_create(&thread, NULL, foreign, NULL);
    lws_sul_schedule(context, 0, &timer, count, 1);
    lws_sul_schedule(context, 0, &other, count, 3600 * (lws_usec_t)LWS_US_PER_SEC);
    assert(timer.list.owner && other.list.owner);
    while (lws_service(context, 100) >= 0)
        if (dead) {
            use(dead);
            /* While another is open, which hears nothing of it. */
            for (; opened && opened != dead && often > 0; often--)
                use(dead);
        }
    assert(often == 0);
    assert(timer.latency_us == 1 && other.latency_us == 0 && !other.list.owner);
    has_ended = 1;
    pthread_join(thread, NULL);
    assert(lws_service(context, 0) < 0 && lws_service(NULL, 0) == 1);
    lws_context_destroy(context);
    lws_context_destroy(NULL);
    lws_cancel_service(context);
    use(dead);
    use(NULL);
    use((struct lws *)&info);
    printf("closed %d, more destroyed %d, received %d, writeable %d, ends %d\n", closed, destroyed >= closed, received, writeable > 0, ends);
    return 0;
}
