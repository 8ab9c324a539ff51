/* The mask, the sinks, and the lines. */

/* So that all macros are calls. */
#define _DEBUG
#include "common.h"

static int lines;

static void sink(int level, const char *line)
{
    lines++;
    say("%d: %zu '%.20s' ends with %s", level, strlen(line), line, line[strlen(line) - 1] == '\n' ? "a new line" : "no new line");
}

static void log_all(void)
{
    lwsl_err("err\n");
    lwsl_warn("warn %d\n", 1);
    lwsl_notice("notice %s\n", "text");
    lwsl_info("info\n");
    lwsl_debug("debug\n");
    lwsl_parser("parser\n");
    lwsl_header("header\n");
    lwsl_ext("ext\n");
    lwsl_client("client\n");
    lwsl_latency("latency\n");
}

/* What the first sink writes to standard error, without the time. */
static void say_standard_error(void)
{
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    unsigned long begun, parts;
    char line[400];

    dup2(fileno(file), STDERR_FILENO);
    log_all();
    lws_set_log_level(0x3ff, NULL);
    log_all();
    lws_set_log_level(7, NULL);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    while (fgets(line, sizeof(line), file)) {
        char *text = strstr(line, "] ");

        CHECK(text && sscanf(line, "[%lu:%4lu]", &begun, &parts) == 2 && begun > 1500000000 && text - strchr(line, ':') == 5);
        say("[time]%.*s", (int)strcspn(text + 1, "\n"), text + 1);
    }
    fclose(file);
}

int main(void)
{
    char text[600];

    say_standard_error();
    lws_set_log_level(7, sink);
    log_all();
    say("all");
    lws_set_log_level(0x3ff, NULL);
    log_all();
    say("none");
    lws_set_log_level(0, NULL);
    log_all();
    say("long");
    lws_set_log_level(LLL_ERR, NULL);
    memset(text, 'x', sizeof(text));
    text[599] = '\0';
    lwsl_err("%s\n", text);
    text[254] = '\0';
    lwsl_err("%s\n", text);
    lwsl_err("%s", text);
    errno = ENOENT;
    lwsl_err("%m\n");
    CHECK(errno == ENOENT);
    say("dump");
    lws_set_log_level(LLL_DEBUG, NULL);
    lines = 0;
    lwsl_hexdump((void *)"0123456789abcdef0123", 20);
    lwsl_hexdump((void *)"", 0);
    lwsl_hexdump(NULL, 5);
    CHECK(lines == 2);
    lws_set_log_level(LLL_ERR, lwsl_emit_syslog);
    lwsl_err("to the system's log\n");
    return finish();
}
