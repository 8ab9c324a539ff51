/*
 * What a bare publisher and a bare subscriber on the C client of NATS carry from one connection to the other: for
 * `cargo xtask bench brokers`. Prints the seconds from the first publish to the last delivery.
 *
 * The publisher of the core hands messages to the library, which sends what it has together; nothing confirms them. That of JetStream
 * waits when WINDOW messages are not confirmed. The subscriber counts in the callback of the library, and acknowledges nothing.
 *
 *     cc -O3 -o nats-flow flow.c -lnats
 *     nats-flow core|jetstream URL MESSAGES BYTES WINDOW
 */

#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_there = PTHREAD_COND_INITIALIZER;
static long wanted, received;
static int finished;

static void must(natsStatus status, const char *what)
{
    if (status == NATS_OK)
        return;
    fprintf(stderr, "nats-flow: %s: %s\n", what, natsStatus_GetText(status));
    exit(1);
}

static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    (void)connection;
    (void)subscription;
    (void)closure;
    natsMsg_Destroy(message);
    /* One thread delivers. */
    if (++received == wanted) {
        pthread_mutex_lock(&mutex);
        finished = 1;
        pthread_cond_signal(&all_there);
        pthread_mutex_unlock(&mutex);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void publish_core(natsConnection *connection, const char *payload, int bytes)
{
    for (long sent = 0; sent < wanted; sent++)
        must(natsConnection_Publish(connection, "flow.core", payload, bytes), "publish");
    must(natsConnection_Flush(connection), "flush");
}

static void publish_jetstream(natsConnection *connection, const char *payload, int bytes, int window)
{
    jsOptions options;
    jsCtx *stream;
    must(jsOptions_Init(&options), "options");
    options.PublishAsync.MaxPending = window;
    must(natsConnection_JetStream(&stream, connection, &options), "JetStream");
    for (long sent = 0; sent < wanted; sent++)
        must(js_PublishAsync(stream, "flow.stream", payload, bytes, NULL), "publish");
    must(js_PublishAsyncComplete(stream, NULL), "the last confirmations");
    jsCtx_Destroy(stream);
}

static void make_stream(natsConnection *connection, natsSubscription **subscription)
{
    jsStreamConfig config;
    jsCtx *stream;
    const char *subjects[] = {"flow.stream"};
    must(natsConnection_JetStream(&stream, connection, NULL), "JetStream");
    /* That of a run before. */
    (void)js_DeleteStream(stream, "FLOW", NULL, NULL);
    must(jsStreamConfig_Init(&config), "a stream");
    config.Name = "FLOW";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    must(js_AddStream(NULL, stream, &config, NULL, NULL), "a stream");
    /* A consumer that is pushed to, and confirms nothing. */
    jsSubOptions how;
    must(jsSubOptions_Init(&how), "a consumer");
    how.Config.AckPolicy = js_AckNone;
    must(js_Subscribe(subscription, stream, "flow.stream", on_message, NULL, NULL, &how, NULL), "a consumer");
    jsCtx_Destroy(stream);
}

int main(int count, char **words)
{
    if (count != 6) {
        fprintf(stderr, "nats-flow core|jetstream URL MESSAGES BYTES WINDOW\n");
        return 2;
    }
    int is_core = strcmp(words[1], "core") == 0, bytes = atoi(words[4]), window = atoi(words[5]);
    wanted = atol(words[3]);
    char *payload = malloc((size_t)bytes);
    if (payload == NULL)
        return 1;
    memset(payload, 'x', (size_t)bytes);

    natsConnection *publisher, *subscriber;
    natsSubscription *subscription;
    must(natsConnection_ConnectTo(&publisher, words[2]), "connect");
    must(natsConnection_ConnectTo(&subscriber, words[2]), "connect");
    if (is_core)
        must(natsConnection_Subscribe(&subscription, subscriber, "flow.core", on_message, NULL), "subscribe");
    else
        make_stream(subscriber, &subscription);
    /* The publisher is faster: nothing is dropped for that. */
    must(natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
    must(natsConnection_Flush(subscriber), "flush");

    double begin = now();
    if (is_core)
        publish_core(publisher, payload, bytes);
    else
        publish_jetstream(publisher, payload, bytes, window);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 60;
    pthread_mutex_lock(&mutex);
    int late = 0;
    while (!finished && !late)
        late = pthread_cond_timedwait(&all_there, &mutex, &limit) != 0;
    pthread_mutex_unlock(&mutex);
    if (late) {
        fprintf(stderr, "nats-flow: %ld of %ld messages arrived\n", received, wanted);
        return 1;
    }
    printf("messages=%ld seconds=%.6f\n", wanted, now() - begin);

    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(publisher);
    natsConnection_Destroy(subscriber);
    nats_Close();
    free(payload);
    return 0;
}
