"""libwebsockets' own test client against `sockeye serve`, or what serves the same: libwebsockets.py ws://HOST:PORT/

The client holds one connection for each protocol. It has to stay on both while the counter counts, and what it
draws has to reach another client of the mirror.

It offers compression with both. A server with --compress gets its first drawing compressed, and no more: version 4.1 says nothing
any more once a message has come that is not compressed, as short ones of any server are. So all else is for servers without.
"""

import asyncio
import json
import os
import re
from urllib.parse import urlsplit
from urllib.request import urlopen

from checks import check, ensure, equal, main
from websockets.asyncio.client import connect

# Twenty a second.
COUNTS = 200
COUNTS_OVER_TLS = 40
DRAWINGS = 200
DRAWING = re.compile(r"c #[0-9A-F]{6} \d+ \d+ \d+;")
# Errors, warnings, notices and information: the last says what was received.
LEVELS = "15"


class Client:
    """The running test client, and what it has said so far."""

    def __init__(self, counts):
        self.wanted = counts
        self.mirror_established = asyncio.Event()
        self.counts = []
        self.counted = asyncio.Event()
        self.complaints = []

    def hear(self, line):
        if "mirror: LWS_CALLBACK_CLIENT_ESTABLISHED" in line:
            self.mirror_established.set()
        elif number := re.search(r"rx \d+ '(\d+)'", line):
            self.counts.append(int(number[1]))
            if len(self.counts) >= self.wanted:
                self.counted.set()
        elif "CALLBACK_CLOSED" in line or "CONNECTION_ERROR" in line or "closed before established" in line:
            self.complaints.append(line)

    async def listen(self, stream):
        while line := await stream.readline():
            self.hear(line.decode(errors="replace").rstrip())


async def compressing(url):
    address = urlsplit(url)
    async with connect(url, subprotocols=["lws-mirror-protocol"], compression=None) as sees:
        process = await asyncio.create_subprocess_exec(
            "libwebsockets-test-client", address.hostname, f"--port={address.port}", "--longlived", "-d", "0",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

        async def draws():
            drawn = await sees.recv()
            ensure(all(DRAWING.fullmatch(part + ";") for part in drawn.split(";") if part), f"not what it draws: {drawn}")
            # Nobody else has agreed to it.
            text = urlopen(f"{address._replace(scheme='http').geturl()}metrics", timeout=20).read().decode()
            found = re.search(r"(?m)^sockeye_received_compressed_messages_total (\d+)$", text)
            ensure(found and int(found[1]) > 0, f"not compressed: {found}")

        try:
            await check("libwebsockets-test-client: its first drawing comes compressed, and reaches another client", draws, 60)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def scenario(url):
    if "--compress" in json.loads(os.environ.get("SERVER", "[]")):
        return await compressing(url)
    address = urlsplit(url)
    # It looks for authorities nowhere else.
    tls = ["--ssl", "--ssl-ca", os.environ["SSL_CERT_FILE"]] if address.scheme == "wss" else []
    client = Client(COUNTS_OVER_TLS if tls else COUNTS)

    async with connect(url, subprotocols=["lws-mirror-protocol"], max_queue=None) as sees:
        process = await asyncio.create_subprocess_exec(
            "libwebsockets-test-client", address.hostname, f"--port={address.port}", "--longlived", "-d", LEVELS, *tls,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        listener = asyncio.create_task(client.listen(process.stderr))
        drawn = []

        async def draws():
            await client.mirror_established.wait()
            while len(drawn) < DRAWINGS:
                message = await sees.recv()
                drawn.extend(part + ";" for part in message.split(";") if part)
            strange = [drawing for drawing in drawn if not DRAWING.fullmatch(drawing)]
            ensure(not strange, f"not what it draws: {strange[:3]}")

        async def counts():
            await client.counted.wait()
            equal(client.counts[: client.wanted], list(range(client.wanted)))

        async def stays():
            equal(process.returncode, None)
            equal(client.complaints, [])

        try:
            await check(f"libwebsockets-test-client: {DRAWINGS} drawings reach another client", draws, 30)
            # Its flood goes on meanwhile; the observer must not be the reason for any closing.
            reader = asyncio.create_task(drain(sees))
            await check(f"libwebsockets-test-client: the counter counts to {client.wanted}", counts, 30)
            await check("libwebsockets-test-client: stays connected to both", stays)
            reader.cancel()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            listener.cancel()


async def drain(ws):
    async for _ in ws:
        pass


main(scenario)
