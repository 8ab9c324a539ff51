"""Python's websockets against `sockeye echo --compress`, with all that permessage-deflate may agree on: compress.py ws://HOST:PORT/"""

import asyncio
import json
import random

from checks import check, equal, main
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

WINDOWS = [None, 9, 10, 11, 12, 13, 14, 15]


def messages(seed):
    """Messages that refer to each other in part: JSON, noise, nothing, text that is long and repeats."""
    numbers = random.Random(seed)
    for _ in range(30):
        kind = numbers.randrange(5)
        if kind == 0:
            yield numbers.randbytes(numbers.randrange(3000))
        elif kind == 1:
            yield "" if numbers.randrange(2) else b""
        elif kind == 2:
            yield f"é€𝄞 {numbers.randrange(10)} " * numbers.randrange(9000)
        else:
            yield json.dumps({"type": "quote", "bid": numbers.random(), "ask": numbers.random(), "id": numbers.randrange(99)})


def pieces(message, numbers):
    """The same in fragments, of text without cutting a character."""
    step = 1 + numbers.randrange(1 + len(message))
    return [message[at : at + step] for at in range(0, len(message), step)] or [message]


async def session(url, seed, **parameters):
    numbers = random.Random(seed)
    factory = ClientPerMessageDeflateFactory(**parameters)
    async with connect(url, max_size=None, ping_interval=None, compression=None, extensions=[factory]) as ws:
        [extension] = ws.protocol.extensions
        window = parameters["server_max_window_bits"]
        if window is not None:
            equal(extension.remote_max_window_bits <= window, True)
        if parameters["server_no_context_takeover"]:
            equal(extension.remote_no_context_takeover, True)
        sent = list(messages(seed))
        for message in sent:
            await ws.send(pieces(message, numbers) if numbers.randrange(2) else message)
            if numbers.randrange(4) == 0:
                await ws.ping()
        for message in sent:
            equal(await ws.recv(), message)
    equal(ws.close_code, 1000)


async def scenario(url):
    seed = 0
    for takes in range(4):
        for server in WINDOWS:
            for client in [True, *WINDOWS[1:]] if takes < 2 else [None]:
                seed += 1
                parameters = {
                    "server_no_context_takeover": bool(takes & 1),
                    "client_no_context_takeover": bool(takes & 2),
                    "server_max_window_bits": server,
                    "client_max_window_bits": client,
                }
                shown = ", ".join(f"{name}={value}" for name, value in parameters.items())
                await check(f"websockets: {shown}", lambda: session(url, seed, **parameters), 60)


if __name__ == "__main__":
    main(scenario)
