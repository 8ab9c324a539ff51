"""A server made of Python's websockets, for `conformance-client peer`: websockets.py.

What it has to know stands in conformance/src/client/peer.rs. With CERTIFICATE in the environment, a PEM file with a certificate
and its key, it speaks TLS.
"""

import asyncio
import contextlib
import http
import os
import pathlib
import signal
import ssl
import sys
from urllib.parse import parse_qs, urlsplit

# Not this file: the library of the same name.
here = str(pathlib.Path(__file__).parent)
sys.path = [path for path in sys.path if path != here]

from websockets.asyncio.server import serve  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402

# How connections with a ticket were closed, as soon as they are.
closes = {}


def seen(ticket):
    return closes.setdefault(ticket, asyncio.get_running_loop().create_future())


def pieces(message, cut):
    for at in range(0, len(message), cut):
        yield message[at : at + cut]
    yield message[:0]


async def ping(ws):
    pongs = 0
    for size in (0, 1, 125):
        await (await ws.ping(b"p" * size))
        pongs += 1
    await ws.send(f"pongs: {pongs}")
    await ws.wait_closed()


async def handle(ws):
    url = urlsplit(ws.request.path)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    ticket = query.get("ticket")
    messages = 0
    try:
        if url.path == "/seen":
            await ws.send(await seen(ticket))
            await ws.wait_closed()
            return
        if url.path == "/close":
            if "code" in query:
                await ws.close(int(query["code"]), query["reason"])
            else:
                await close_without_a_code(ws)
        elif url.path == "/drop":
            ws.transport.abort()
        elif url.path == "/request":
            fields = ["Host", "Origin", "Authorization", "X-Sockeye"]
            await ws.send("\n".join([ws.request.path, *[ws.request.headers.get(name, "-") for name in fields]]))
            await ws.wait_closed()
        elif url.path == "/ping":
            await ping(ws)
        else:
            cut = int(query.get("cut", 0))
            async for message in ws:
                messages += 1
                # What came before a close is still given out behind it, and cannot be answered then.
                with contextlib.suppress(ConnectionClosed):
                    await ws.send(pieces(message, cut) if cut else message)
    except ConnectionClosed:
        pass
    finally:
        if ticket is not None and url.path != "/seen":
            await ws.wait_closed()
            received = ws.protocol.close_rcvd
            code, reason = (received.code, received.reason) if received else (1006, "")
            seen(ticket).set_result(f"{messages} {code} {reason}")


async def close_without_a_code(ws):
    """The library's own `close` always sends a code."""
    async with ws.send_context():
        ws.protocol.send_close()
    await ws.wait_closed()


def judge(connection, request):
    if request.path == "/refuse":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "go away")
    if request.path == "/moved":
        response = connection.respond(http.HTTPStatus.FOUND, "elsewhere")
        response.headers["Location"] = "/request"
        return response
    return None


async def main():
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set_result, None)
    # Without a bound of the queue it sees the end of a connection at once, and not ten seconds behind the close frame.
    options = {"max_size": None, "max_queue": None, "ping_interval": None, "process_request": judge}
    options |= {"subprotocols": ["superchat"], "select_subprotocol": choose}
    scheme = "ws"
    if "CERTIFICATE" in os.environ:
        scheme, options["ssl"] = "wss", ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        options["ssl"].load_cert_chain(os.environ["CERTIFICATE"])
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"listening on {scheme}://127.0.0.1:{port}/", flush=True)
        await ended


def choose(_, offered):
    return "superchat" if "superchat" in offered else None


asyncio.run(main())
