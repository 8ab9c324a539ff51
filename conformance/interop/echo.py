"""Python's websockets against `sockeye echo`: echo.py ws://HOST:PORT/"""

import asyncio
import json
import os

from checks import check, ensure, equal, main
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

# Whether the server compresses for those who offer it, as this library does; no one starts it for the other scripts.
COMPRESSES = "--compress" in json.loads(os.environ.get("SERVER", "[]"))
MESSAGE_LIMIT = 16 * 1024 * 1024
SIZES = [0, 1, 125, 126, 65535, 65536, MESSAGE_LIMIT]
CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999]


def text(size):
    """Text of so many bytes in UTF-8, of code points of one to four bytes."""
    unit = "aé€𝄞-"
    whole, rest = divmod(size, len(unit.encode()))
    return unit * whole + "x" * rest


def bytes_(size):
    """Bytes that differ from place to place, so that a mix-up shows."""
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


async def scenario(url):
    def session(**options):
        return connect(url, max_size=None, ping_interval=None, **options)

    async def echoes(message):
        async with session() as ws:
            await ws.send(message)
            equal(await ws.recv(), message)
        equal(ws.close_code, 1000)

    for size in SIZES:
        await check(f"websockets: text of {size} bytes", lambda: echoes(text(size)), 60)
        await check(f"websockets: binary of {size} bytes", lambda: echoes(bytes_(size)), 60)

    async def over_the_limit():
        async with session() as ws:
            try:
                await ws.send([bytes_(MESSAGE_LIMIT), b"+"])
                await ws.recv()
            except ConnectionClosed:
                pass
            await ws.wait_closed()
            equal(ws.close_code, 1009)

    await check("websockets: one byte over the limit is refused with 1009", over_the_limit, 60)

    async def fragments():
        async with session() as ws:
            pieces = ["a", "", "é€", "𝄞" * 100, ""]
            await ws.send(pieces)
            equal(await ws.recv(), "".join(pieces))
            blocks = [bytes_(size) for size in (0, 1, 126, 70_000)]
            await ws.send(blocks)
            equal(await ws.recv(), b"".join(blocks))

    await check("websockets: fragments come back as one message", fragments)

    async def pings():
        async with session() as ws:
            for size in (0, 1, 125):
                await (await ws.ping(bytes_(size)))
            # Several at once: each is answered, or by the pong of a later one (RFC 6455 section 5.5.3).
            await asyncio.gather(*[await ws.ping(str(i)) for i in range(10)])

    await check("websockets: pings are answered with their payload", pings)

    async def close(code):
        async with session() as ws:
            await ws.close(code, "until later")
        equal(ws.close_code, code)
        ensure(not ws.protocol.close_rcvd_then_sent, "the server closed first")

    for code in CODES:
        await check(f"websockets: close code {code} comes back", lambda: close(code))

    async def subprotocol():
        offered = ["chat.example", "superchat"]
        async with session(subprotocols=offered) as ws:
            ensure(ws.subprotocol in offered, f"{ws.subprotocol} was not offered")
            equal(len(ws.protocol.extensions), int(COMPRESSES))

    answer = "accepted" if COMPRESSES else "declined"
    await check(f"websockets: one of the subprotocols offered is spoken; compression is {answer}", subprotocol)

    async def crowd():
        async def one(number):
            async with session() as ws:
                for size in (0, 10, 1000, 100_000):
                    message = text(size) + str(number)
                    await ws.send(message)
                    equal(await ws.recv(), message)

        await asyncio.gather(*[one(number) for number in range(100)])

    await check("websockets: a hundred connections at once", crowd, 60)


if __name__ == "__main__":
    main(scenario)
