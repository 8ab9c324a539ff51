"""Every packaged program and plugin that is linked with libwebsockets finds all its functions, when all are looked up at once."""

import glob
import os
import re
import subprocess

OBJECTS = (
    "/usr/bin/driftnet",
    "/usr/bin/rtpengine",
    "/usr/bin/seaf-daemon",
    "/usr/bin/swupdate",
    "/usr/lib/*/csound/plugins64-*/libwebsocketIO.so",
    "/usr/lib/*/janus/events/libjanus_wsevh.so.?.?.?",
    "/usr/lib/*/janus/transports/libjanus_websockets.so.?.?.?",
    "/usr/lib/*/kamailio/modules/lwsc.so",
)


def run(recipe):
    variables = {**os.environ, "LD_BIND_NOW": "1"}
    if recipe.is_ours:
        variables["LD_LIBRARY_PATH"] = recipe.library
    for pattern in OBJECTS:
        found = glob.glob(pattern)
        recipe.check(f"{pattern} is there", found, "its Debian package is missing")
        for path in found:
            result = subprocess.run(["ldd", "-r", path], env=variables, capture_output=True, text=True, timeout=30, check=False)
            missing = re.findall(r"undefined symbol: (_?lws\w*)", result.stdout + result.stderr)
            recipe.check(f"{path}: all functions", not missing, missing)
            if recipe.is_ours:
                recipe.check(f"{path}: the library that is tested", recipe.library in result.stdout, result.stdout)
