"""`openssl s_client`, and Python's websockets with certificates, against `sockeye echo` over TLS: tls.py wss://HOST:PORT/

Environment: ASKING is the URL of a second server, which demands certificates of its clients; CERTIFICATES is the folder of
certificates.
"""

import asyncio
import os
import re
import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from checks import check, ensure, equal, main
from echo import bytes_, text
from websockets.asyncio.client import connect
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidMessage
from websockets.frames import Opcode
from websockets.uri import parse_uri

ASKING = os.environ["ASKING"]
CERTIFICATES = Path(os.environ["CERTIFICATES"])
SIZES = [0, 1, 125, 126, 65535, 65536, 16 * 1024 * 1024]
# Plain HTTP: it is answered, and the connection is closed.
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def pem(name):
    return str(CERTIFICATES / f"{name}.pem")


def shown(name):
    """The options to show this certificate."""
    return ["-cert", pem(name), "-key", pem(name)]


def start(url, *options):
    place = urlsplit(url).netloc
    words = ["s_client", "-connect", place, "-CAfile", pem("authority"), "-verify_return_error", *options]
    pipe = asyncio.subprocess.PIPE
    return asyncio.create_subprocess_exec("openssl", *words, stdin=pipe, stdout=pipe, stderr=pipe)


async def said(url, *options, request=b""):
    """What s_client prints; without a request it only shakes hands."""
    # With a request it stays until the server closes, and so hears of what comes behind the handshake.
    process = await start(url, *options, *(["-ign_eof"] if request else []))
    out, errors = await process.communicate(request)
    return (out + errors).decode(errors="replace")


def sessions(output):
    """`New` or `Reused` for each handshake."""
    return re.findall(r"^(New|Reused), TLSv1\.[23], Cipher is ", output, re.MULTILINE)


class Peer:
    """A WebSocket client whose TLS is s_client's."""

    def __init__(self, process):
        self.process = process
        self.protocol = ClientProtocol(parse_uri("wss://localhost/"), max_size=None)
        self.events = []

    @classmethod
    async def open(cls, url, *options):
        peer = cls(await start(url, "-quiet", *options))
        peer.protocol.send_request(peer.protocol.connect())
        answer = await peer.event()
        equal(answer.status_code, 101)
        return peer

    async def flush(self):
        for data in self.protocol.data_to_send():
            if data:
                self.process.stdin.write(data)
                await self.process.stdin.drain()

    async def event(self):
        # Both directions at once: the echo of a long message begins before its end is sent.
        sends = asyncio.create_task(self.flush())
        while not self.events:
            data = await self.process.stdout.read(1 << 16)
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
            self.events += self.protocol.events_received()
            ensure(data or self.events, "s_client has ended")
            if self.protocol.handshake_exc:
                raise self.protocol.handshake_exc
        await sends
        await self.flush()
        return self.events.pop(0)

    async def message(self):
        frame = await self.event()
        pieces, opcode = [frame.data], frame.opcode
        while not frame.fin:
            frame = await self.event()
            pieces.append(frame.data)
        return opcode, b"".join(pieces)

    async def close(self, code):
        """Closes; what s_client says at its end, which has to be one that it expects."""
        self.protocol.send_close(code, "until later")
        answer = await self.event()
        equal((answer.opcode, self.protocol.close_rcvd.code), (Opcode.CLOSE, code))
        # Without it s_client would stay: it looks at what it is to send, too.
        self.process.stdin.close()
        equal(await self.process.stdout.read(), b"")
        errors = (await self.process.stderr.read()).decode()
        # An end without close_notify is an error to it.
        ensure("error" not in errors, errors)
        equal(await self.process.wait(), 0)


async def scenario(url):
    await certificates_of_the_server(url)
    for version in ("-tls1_2", "-tls1_3"):
        await messages(url, version)
        await protocols(url, version)
        await certificates(version)
    await resumption(url)
    await python(url)


async def certificates_of_the_server(url):
    async def trusted():
        for name in ("localhost", "127.0.0.1"):
            kind = "-verify_ip" if name[0].isdigit() else "-verify_hostname"
            output = await said(url, kind, name, request=REQUEST)
            ensure("Verification: OK" in output and "HTTP/1.1 426 " in output, output)

    await check("s_client: the certificate is for both names", trusted)

    async def old():
        output = await said(url, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        # Handshake failure, when what it misses first is an extension that such an old hello does not have.
        ensure(re.search("alert (protocol version|handshake failure)", output), output)

    await check("s_client: TLS 1.1 is refused with an alert", old)


async def messages(url, version):
    async def echoes(opcode, payload):
        peer = await Peer.open(url, version)
        send = peer.protocol.send_text if opcode is Opcode.TEXT else peer.protocol.send_binary
        send(payload)
        came = await peer.message()
        equal(came[0], opcode)
        ensure(came[1] == payload, f"{len(came[1])} other bytes came back for {len(payload)}")
        await peer.close(1000)

    for size in SIZES:
        name = f"s_client {version}: {{}} of {size} bytes"
        await check(name.format("text"), lambda: echoes(Opcode.TEXT, text(size).encode()), 60)
        await check(name.format("binary"), lambda: echoes(Opcode.BINARY, bytes_(size)), 60)

    async def close(code):
        await (await Peer.open(url, version)).close(code)

    for code in (1000, 1001, 1011, 3000, 4999):
        await check(f"s_client {version}: close code {code} comes back, and close_notify behind it", lambda: close(code))


async def protocols(url, version):
    async def taken(offered):
        output = await said(url, version, "-alpn", offered, request=REQUEST)
        ensure("ALPN protocol: http/1.1" in output and "HTTP/1.1 426 " in output, output)

    for offered in ("http/1.1", "h2,http/1.1"):
        await check(f"s_client {version}: of {offered} http/1.1 is taken", lambda: taken(offered))

    async def refused():
        output = await said(url, version, "-alpn", "h2", request=REQUEST)
        ensure("alert no application protocol" in output and "HTTP/1.1" not in output, output)

    await check(f"s_client {version}: h2 alone is refused with the alert for it", refused)


async def certificates(version):
    async def served():
        output = await said(ASKING, version, *shown("client"), request=REQUEST)
        ensure("HTTP/1.1 426 " in output, output)

    await check(f"s_client {version}: a client with a certificate is served where that is demanded", served)

    async def refused(alert, *options):
        output = await said(ASKING, version, *options, request=REQUEST)
        ensure(alert in output and "HTTP/1.1" not in output, output)

    for what, alert, options in (
        ("without one", "alert certificate required", []),
        ("with one of an unknown authority", "alert unknown ca", shown("impostor")),
    ):
        await check(f"s_client {version}: a client {what} is refused with the alert for it", lambda: refused(alert, *options))


async def resumption(url):
    async def reconnects(to, expected, *options):
        equal(sessions(await said(to, "-tls1_2", "-reconnect", *options)), expected)

    await check("s_client -tls1_2 -reconnect: every session is reused", lambda: reconnects(url, ["New"] + 5 * ["Reused"]))
    name = "s_client -tls1_2 -reconnect: none is where clients are asked for certificates"
    await check(name, lambda: reconnects(ASKING, 6 * ["New"], *shown("client")))

    async def tickets():
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/session"
            output = await said(url, "-tls1_3", "-sess_out", file, request=REQUEST)
            equal(sessions(output), ["New"])
            output = await said(url, "-tls1_3", "-sess_in", file, request=REQUEST)
            equal(sessions(output), ["Reused"])
            ensure("HTTP/1.1 426 " in output, output)

    await check("s_client -tls1_3 -sess_out, -sess_in: the session is reused", tickets)

    async def no_ticket():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "session")
            output = await said(ASKING, "-tls1_3", "-sess_out", str(file), *shown("client"), request=REQUEST)
            ensure("HTTP/1.1 426 " in output, output)
            equal(file.exists(), False)

    await check("s_client -tls1_3: no ticket is sent where clients are asked for certificates", no_ticket)

    async def other_server():
        """The session of one server, offered to the one that demands certificates: it does not stand in for one."""
        for version in ("-tls1_2", "-tls1_3"):
            with tempfile.TemporaryDirectory() as folder:
                file = f"{folder}/session"
                await said(url, version, "-sess_out", file, request=REQUEST)
                output = await said(ASKING, version, "-sess_in", file, request=REQUEST)
                ensure("Reused" not in output and "HTTP/1.1" not in output, output)

    await check("s_client: a session of another listener is no certificate", other_server)


async def python(url):
    def trusting(certificate, most=ssl.TLSVersion.MAXIMUM_SUPPORTED):
        context = ssl.create_default_context(cafile=pem("authority"))
        context.maximum_version = most
        if certificate:
            context.load_cert_chain(pem(certificate))
        return context

    async def served(to, certificate):
        async with connect(to, ssl=trusting(certificate)) as ws:
            await ws.send("hello")
            equal(await ws.recv(), "hello")
        equal(ws.close_code, 1000)

    for certificate in (None, "client", "impostor"):
        what = f"with the certificate {certificate}" if certificate else "without a certificate"
        await check(f"websockets: {what} it is served where none is demanded", lambda: served(url, certificate))
    await check("websockets: with a certificate it is served where that is demanded", lambda: served(ASKING, "client"))

    async def refused(certificate, alert):
        # With TLS 1.3 the alert comes behind the handshake, and the library does not tell of it.
        for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            try:
                async with connect(ASKING, ssl=trusting(certificate, most)):
                    raise AssertionError("it was let in")
            except ssl.SSLError as error:
                ensure(alert in error.reason, f"not {alert}: {error.reason}")
            except (InvalidMessage, ConnectionError):
                equal(most, ssl.TLSVersion.TLSv1_3)

    for certificate, alert in ((None, "CERTIFICATE_REQUIRED"), ("impostor", "UNKNOWN_CA")):
        what = f"with the certificate {certificate}" if certificate else "without a certificate"
        await check(f"websockets: {what} it is refused where one is demanded", lambda: refused(certificate, alert))


if __name__ == "__main__":
    main(scenario)
