"""csound's opcode websocket: a server of its own on a thread of the orchestra, a stream of values out and values in."""

import struct
import time

from harness import free_port, listens, until
from websocket import BINARY, CLOSE, connect

SCORE_SECONDS = 6
ORCHESTRA = """\
<CsoundSynthesizer>
<CsOptions>
-+rtaudio=null -odac -m0 -d
</CsOptions>
<CsInstruments>
sr = 48000
ksmps = 480
nchnls = 1
0dbfs = 1
instr 1
kout line 0, p3, 100
kin websocket @PORT@, kout
printk 0.5, kin
endin
</CsInstruments>
<CsScore>
i1 0 @SECONDS@
</CsScore>
</CsoundSynthesizer>
"""


def run(recipe):
    port = free_port()
    recipe.write("a.csd", ORCHESTRA, PORT=port, SECONDS=SCORE_SECONDS)
    begun = time.monotonic()
    csound = recipe.start("csound", "a.csd")
    recipe.check("it listens", until(lambda: listens(port)), csound.output()[-800:])
    out, into = connect(port, protocol="kout"), connect(port, protocol="kin")
    for peer, name in ((out, "kout"), (into, "kin")):
        recipe.check(f"{name} is the subprotocol", f"sec-websocket-protocol: {name}" in peer.head.lower(), peer.head)
        recipe.check(f"{name} is opened", peer.head.startswith("HTTP/1.1 101 "), peer.head)
    kinds, values = zip(*[(kind, struct.unpack("d", value)[0]) for kind, value in (out.message() for _ in range(50))])
    recipe.check("values rise", all(kind == BINARY for kind in kinds) and list(values) == sorted(values), values)
    for value in (1.5, 2.5, 42.0):
        into.send(BINARY, struct.pack("d", value))
        text = f"{value:.5f}"
        recipe.check(f"{text} is printed", csound.says(text), csound.output()[-400:])
    csound.look()
    out.send(CLOSE, b"\x03\xe8")
    recipe.check("the close is answered", closes(out))
    into.close()
    status, _ = csound.end(SCORE_SECONDS + 3 - (time.monotonic() - begun) if recipe.is_ours else 0.1)
    if recipe.is_ours:
        # With the library of Debian it does not end after the score: it joins a thread that lws_service does not give back.
        recipe.equal("it ends after the score", status, 0)
        recipe.no_complaints(csound)


def closes(peer):
    try:
        while True:
            _, opcode, _ = peer.frame()
            if opcode == CLOSE:
                return True
    except (OSError, EOFError):
        return False
