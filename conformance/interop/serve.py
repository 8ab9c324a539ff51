"""Python's websockets against `sockeye serve`, or what serves the same: serve.py ws://HOST:PORT/"""

from checks import check, equal, main
from websockets.asyncio.client import connect

COUNTER = "dumb-increment-protocol"
MIRROR = "lws-mirror-protocol"


async def scenario(url):
    async def counter():
        async with connect(url, subprotocols=[COUNTER]) as ws:
            equal(ws.subprotocol, COUNTER)
            for number in range(50):
                equal(await ws.recv(), str(number))
            last = 49
            # Whole, in fragments, and what is no command.
            commands = [("reset\n", 1), (["r", "", "eset", "\n"], 1), (["x", "reset\n"], 0), ("reset\n\n", 0), ("reset\n", 1)]
            for command, resets in commands:
                await ws.send(command)
                falls = 0
                for _ in range(20):
                    number = int(await ws.recv())
                    if number != last + 1:
                        equal(number, 0)
                        falls += 1
                    last = number
                equal((command, falls), (command, resets))
        equal(ws.close_code, 1000)

    await check("websockets: the counter counts and is reset, by nothing but a reset", counter)

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
