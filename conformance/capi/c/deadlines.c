/*
 * Deadlines and timers of requests of 4.1.6: prints what is told of two requests that are never answered. `/deadline` gets a deadline of
 * a second, `/timer` a timer whose callback ends it. Debian's library and ours print the same.
 */

#include <libwebsockets.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ended;

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length)
{
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        printf("request %.*s\n", (int)length, (const char *)in);
        if (length == 9)
            lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, 1);
        else
            lws_set_timer_usecs(wsi, 1000);
        return 0;
    case LWS_CALLBACK_TIMER:
        printf("timer\n");
        return -1;
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
        printf("dropped\n");
        return 0;
    case LWS_CALLBACK_CLOSED_HTTP:
        printf("closed\n");
        ended++;
        /* Debian's waits on, whatever it was told. */
        lws_cancel_service(lws_get_context(wsi));
        return 0;
    default:
        return 0;
    }
}

int main(int count, char **words)
{
    static const struct lws_protocols protocols[] = {{.name = "first", .callback = callback, .per_session_data_size = 8}, {0}};
    struct lws_context_creation_info info = {.protocols = protocols, .iface = "127.0.0.1"};
    struct lws_context *context;

    if (count != 2)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    lws_set_log_level(LLL_ERR, NULL);
    info.port = atoi(words[1]);
    context = lws_create_context(&info);
    if (!context)
        return 1;
    printf("listening\n");
    while (ended < 2 && lws_service(context, 1000) >= 0)
        ;
    lws_context_destroy(context);
    printf("ended\n");
    return 0;
}
