/* A sink of both interfaces: syslog(3). What is opened and masked there is the program's. */

#include "shim.h"

#include <syslog.h>

void lwsl_emit_syslog(int level, const char *line);

void lwsl_emit_syslog(int level, const char *line)
{
    int priority = LOG_DEBUG;

    switch (level) {
    case LEVEL_ERR:
        priority = LOG_ERR;
        break;
    case LEVEL_WARN:
        priority = LOG_WARNING;
        break;
    case LEVEL_NOTICE:
        priority = LOG_NOTICE;
        break;
    case LEVEL_INFO:
        priority = LOG_INFO;
        break;
    default:
        break;
    }
    if (line)
        syslog(priority, "%s", line);
}
