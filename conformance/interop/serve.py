"""Python's websockets against `sockeye serve`, or what serves the same: serve.py ws://HOST:PORT/"""

from checks import check, ensure, equal, main
from websockets.asyncio.client import connect

COUNTER = "dumb-increment-protocol"
MIRROR = "lws-mirror-protocol"


async def scenario(url):
    async def counter():
        async with connect(url, subprotocols=[COUNTER]) as ws:
            equal(ws.subprotocol, COUNTER)
            for number in range(100):
                equal(await ws.recv(), str(number))
            await ws.send("reset\n")
            last = 99
            while (number := int(await ws.recv())) != 0:
                equal(number, last + 1)
                last = number
            ensure(last < 140, f"the reset was heard only after {last}")
            equal(await ws.recv(), "1")
        equal(ws.close_code, 1000)

    await check("websockets: the counter counts and is reset", counter)

    async def mirror():
        async with connect(url, subprotocols=[MIRROR]) as draws, connect(url, subprotocols=[MIRROR]) as sees:
            equal(draws.subprotocol, MIRROR)
            for turn, (source, target) in enumerate([(draws, sees), (sees, draws)] * 50):
                command = f"d #{turn:06x} {turn} {turn} {turn + 1} {turn + 1};"
                await source.send(command)
                equal(await source.recv(), command)
                equal(await target.recv(), command)

    await check("websockets: the mirror mirrors both ways", mirror)


main(scenario)
