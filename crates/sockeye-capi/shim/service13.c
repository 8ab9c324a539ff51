/* The wait under its name of 2013. */

#include "shim.h"

int libwebsocket_service(void *context, int timeout_ms);

int libwebsocket_service(void *context, int timeout_ms)
{
    if (!context)
        return 1;
    return sockeye_service(context, timeout_ms);
}
