/*
 * Calls of 4.1.6 from a thread that does not serve, on our library only: it connects, asks for callbacks, writes, sets deadlines and
 * timers, and ends connections, while another serves. Callbacks come from the one that serves, but for those that a connect makes
 * where it is called.
 */

#include <libwebsockets.h>

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { CONNECTIONS = 20 };

static struct lws_context *context;
static pthread_t owner, foreign;
static atomic_int opened, closed, received, timed, has_ended;
static struct lws *_Atomic latest;

/* What a connect tells where it is called. */
static int is_of_connect(enum lws_callback_reasons reason)
{
    switch (reason) {
    case LWS_CALLBACK_CLIENT_HTTP_BIND_PROTOCOL:
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
    case LWS_CALLBACK_WSI_CREATE:
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return 1;
    default:
        return 0;
    }
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length)
{
    (void)user, (void)in;
    assert(pthread_equal(pthread_self(), owner) || (is_of_connect(reason) && pthread_equal(pthread_self(), foreign)));
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        latest = wsi;
        opened++;
        break;
    case LWS_CALLBACK_RECEIVE:
        received += (int)length;
        break;
    case LWS_CALLBACK_TIMER:
        timed++;
        break;
    case LWS_CALLBACK_CLIENT_CLOSED:
        closed++;
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        assert(!"a connection that fails");
        break;
    default:
        break;
    }
    return 0;
}

/* The bounds of the test are those of the one who runs it. */
static void wait_for(atomic_int *count, int wanted)
{
    while (*count < wanted)
        sched_yield();
}

static void *run(void *port)
{
    unsigned char room[LWS_PRE + 4] = {0};
    int index;

    foreign = pthread_self();
    for (index = 0; index < CONNECTIONS; index++) {
        struct lws_client_connect_info info = {
            .context = context, .address = "127.0.0.1", .port = *(int *)port, .path = "/", .host = "h", .protocol = "first"};
        struct lws *wsi = lws_client_connect_via_info(&info);

        assert(wsi);
        wait_for(&opened, index + 1);
        assert(wsi == latest);
        lws_callback_on_writable(wsi);
        assert(lws_write(wsi, room + LWS_PRE, 4, LWS_WRITE_BINARY) == 4);
        wait_for(&received, 4 * (index + 1));
        lws_set_timer_usecs(wsi, 1);
        wait_for(&timed, index + 1);
        lws_rx_flow_control(wsi, 1);
        lws_validity_confirmed(wsi);
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        wait_for(&closed, index + 1);
    }
    has_ended = 1;
    lws_cancel_service(context);
    return NULL;
}

int main(void)
{
    static const struct lws_protocols protocols[] = {{.name = "first", .callback = callback, .per_session_data_size = 8}, {0}};
    struct lws_context_creation_info info = {.protocols = protocols, .iface = "127.0.0.1"};
    pthread_t thread;
    int port;

    lws_set_log_level(LLL_ERR, NULL);
    owner = pthread_self();
    context = lws_create_context(&info);
    assert(context && lws_service(context, -1) >= 0);
    port = lws_get_vhost_listen_port(lws_get_vhost_by_name(context, "default"));
    assert(port > 0 && !pthread_create(&thread, NULL, run, &port));
    while (!has_ended)
        assert(lws_service(context, 0) >= 0);
    assert(!pthread_join(thread, NULL));
    lws_context_destroy(context);
    printf("opened %d, closed %d, received %d, timed %d\n", opened, closed, received, timed);
    return 0;
}
