/* The tables by which lws_humanize of 4.1.6 finds units, which programs may read. */

#include <stdint.h>

struct unit {
    const char *name;
    uint64_t factor;
};

extern const struct unit humanize_schema_si[7], humanize_schema_si_bytes[7], humanize_schema_us[8];

#define KI 1024ULL
#define SECOND 1000000ULL

const struct unit humanize_schema_si[7] = {
    {"Pi ", KI * KI * KI * KI * KI}, {"Ti ", KI * KI * KI * KI}, {"Gi ", KI * KI * KI}, {"Mi ", KI * KI}, {"Ki ", KI}, {"   ", 1}, {0, 0},
};

const struct unit humanize_schema_si_bytes[7] = {
    {"PiB", KI * KI * KI * KI * KI}, {"TiB", KI * KI * KI * KI}, {"GiB", KI * KI * KI}, {"MiB", KI * KI}, {"KiB", KI}, {"B  ", 1}, {0, 0},
};

const struct unit humanize_schema_us[8] = {
    {"y  ", 365 * 24 * 3600 * SECOND}, {"d  ", 24 * 3600 * SECOND}, {"hr ", 3600 * SECOND}, {"min", 60 * SECOND}, {"s  ", SECOND},
    {"ms ", 1000}, {"us ", 1}, {0, 0},
};
