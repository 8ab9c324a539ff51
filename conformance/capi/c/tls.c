/*
 * Certificates, keys and authorities, by files and in memory, for listeners and for connections of a program: who is taken and who is not.
 * Debian's library and ours print the same, but for the last lines.
 */

#include <libwebsockets.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEMANDS = LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT };

static int received, is_over;

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    unsigned char room[LWS_PRE + 8];

    (void)user, (void)in, (void)len;
    memcpy(room + LWS_PRE, "hello", 5);
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return lws_write(wsi, room + LWS_PRE, 5, LWS_WRITE_TEXT) == 5 ? 0 : -1;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        received = is_over = 1;
        return -1;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLIENT_CLOSED:
        is_over = 1;
        break;
    default:
        break;
    }
    return 0;
}

static const struct lws_protocols protocols[] = {{"tls", callback, 0, 0, 0, NULL, 0}, {0}};
static struct lws_context *listening;

static const char *file(const char *name)
{
    static char paths[16][1024];
    static int next;
    char *path = paths[next++ % 16];

    snprintf(path, sizeof(paths[0]), "%s/%s", getenv("CERTIFICATES"), name);
    return path;
}

static struct lws_context_creation_info description(int port, unsigned int options)
{
    struct lws_context_creation_info info = {.port = port, .protocols = protocols, .iface = "127.0.0.1"};

    info.options = options | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND;
    return info;
}

static int listener(const char *name, struct lws_context_creation_info info)
{
    struct lws_vhost *vhost;

    info.vhost_name = name;
    vhost = lws_create_vhost(listening, &info);
    if (!vhost)
        printf("%s: no listener\n", name);
    return vhost ? lws_get_vhost_listen_port(vhost) : -1;
}

static void connects(const char *what, struct lws_context_creation_info info, int port, int flags)
{
    struct lws_context *context = lws_create_context(&info);
    struct lws_client_connect_info to = {.context = context, .address = "127.0.0.1", .port = port, .path = "/", .host = "localhost"};
    int turns;

    if (!context) {
        printf("%s: no context\n", what);
        return;
    }
    to.protocol = "tls";
    to.ssl_connection = LCCSCF_USE_SSL | flags;
    received = is_over = 0;
    is_over = !lws_client_connect_via_info(&to);
    for (turns = 0; !is_over && turns < 10000; turns++) {
        lws_service(listening, -1);
        lws_service(context, -1);
        usleep(500);
    }
    printf("%s: %s\n", what, received ? "received" : is_over ? "refused" : "nothing came");
    lws_context_destroy(context);
    for (turns = 0; turns < 20; turns++)
        lws_service(listening, -1);
}

static char memory[65536];

static unsigned int read_whole(const char *path)
{
    FILE *opened = fopen(path, "r");
    size_t len = opened ? fread(memory, 1, sizeof(memory) - 1, opened) : 0;

    if (opened)
        fclose(opened);
    memory[len] = 0;
    return (unsigned int)len;
}

int main(int count, char **words)
{
    struct lws_context_creation_info info = description(CONTEXT_PORT_NO_LISTEN, LWS_SERVER_OPTION_EXPLICIT_VHOSTS), mine;
    int open_port, closed_port, optional_port;

    (void)words;
    setvbuf(stdout, NULL, _IOLBF, 0);
    lws_set_log_level(0, NULL);
    listening = lws_create_context(&info);
    info = description(0, 0);
    info.ssl_cert_filepath = info.ssl_private_key_filepath = file("server.pem");
    open_port = listener("open", info);
    info.ssl_ca_filepath = file("authority.pem");
    info.options |= DEMANDS;
    closed_port = listener("closed", info);
    info.options |= LWS_SERVER_OPTION_PEER_CERT_NOT_REQUIRED;
    optional_port = listener("optional", info);

    mine = description(CONTEXT_PORT_NO_LISTEN, 0);
    connects("nobody is known", mine, open_port, 0);
    mine.client_ssl_ca_filepath = file("authority.pem");
    connects("the authority", mine, open_port, 0);
    connects("no certificate where one is demanded", mine, closed_port, 0);
    connects("no certificate where one may be", mine, optional_port, 0);
    mine.client_ssl_cert_filepath = mine.client_ssl_private_key_filepath = file("client.pem");
    connects("a certificate where one is demanded", mine, closed_port, 0);

    mine = description(CONTEXT_PORT_NO_LISTEN, 0);
    mine.ssl_ca_filepath = file("authority.pem");
    connects("the authority by the older name", mine, open_port, 0);
    mine.ssl_cert_filepath = mine.ssl_private_key_filepath = file("client.pem");
    connects("a certificate by the older names", mine, closed_port, 0);

    mine = description(CONTEXT_PORT_NO_LISTEN, LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS);
    mine.client_ssl_ca_mem_len = read_whole(file("authority.pem"));
    mine.client_ssl_ca_mem = memory;
    connects("the authority in memory, and no other", mine, open_port, 0);
    mine = description(CONTEXT_PORT_NO_LISTEN, 0);
    mine.client_ssl_ca_filepath = file("missing.pem");
    connects("an authority that is not there", mine, open_port, 0);
    if (count > 1) {
        /*
         * What has another end here than there. Debian's takes clients whose certificates are another authority's, and with
         * ALLOW_SELFSIGNED it does look at those that are not.
         */
        mine = description(CONTEXT_PORT_NO_LISTEN, 0);
        connects("nobody is known, any will do", mine, open_port, LCCSCF_ALLOW_SELFSIGNED);
        mine.client_ssl_ca_filepath = file("authority.pem");
        mine.client_ssl_cert_filepath = mine.client_ssl_private_key_filepath = file("impostor.pem");
        connects("a certificate of another authority", mine, closed_port, 0);
        mine = description(CONTEXT_PORT_NO_LISTEN, 0);
        mine.client_ssl_ca_filepath = file("authority.pem");
        mine.client_ssl_cert_filepath = file("client.pem");
        mine.client_ssl_private_key_filepath = file("encrypted.key");
        mine.client_ssl_private_key_password = "password";
        connects("a key with a password", mine, open_port, 0);
        mine = description(CONTEXT_PORT_NO_LISTEN, 0);
        mine.provided_client_ssl_ctx = (void *)memory;
        connects("a context of OpenSSL", mine, open_port, 0);
        mine = description(CONTEXT_PORT_NO_LISTEN, LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS);
        connects("no authority at all", mine, open_port, 0);
        info = description(0, DEMANDS);
        info.ssl_cert_filepath = info.ssl_private_key_filepath = file("server.pem");
        listener("demands without an authority", info);
        info = description(0, 0);
        info.ssl_cert_filepath = "\xff/nothing";
        listener("a path that is no text", info);
        info = description(0, 0);
        info.ssl_private_key_filepath = file("server.pem");
        listener("a key alone", info);
    }
    lws_context_destroy(listening);
    printf("ended\n");
    return 0;
}
