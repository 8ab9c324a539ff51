/* The wait under its names of 4.1.6. */

#include "shim.h"

int lws_service(void *context, int timeout_ms);
int lws_service_tsi(void *context, int timeout_ms, int tsi);

/* There, 0 is no limit and less is no wait at all; the original takes any other number for 0, and here it is one. */
int lws_service(void *context, int timeout_ms)
{
    if (!context)
        return 1;
    return sockeye_service(context, timeout_ms > 0 ? timeout_ms : timeout_ms < 0 ? 0 : -1);
}

int lws_service_tsi(void *context, int timeout_ms, int tsi)
{
    (void)tsi;
    return lws_service(context, timeout_ms);
}
