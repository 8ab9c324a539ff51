"""driftnet: the pictures of a packet capture, as files over HTTP and their names over a WebSocket. Its capture thread fills a ring
and asks for writeable callbacks; its service thread is cancelled in the end."""

import os
import re
import struct
import threading
import zlib

from urllib.request import urlopen

from harness import free_port, listens, until
from websocket import TEXT, connect


def run(recipe):
    port = free_port()
    fifo = recipe.folder / "cap"
    os.mkfifo(fifo)
    (recipe.folder / "d").mkdir()
    go = threading.Event()
    threading.Thread(target=capture, args=(fifo, go, 5), daemon=True).start()
    driftnet = recipe.start("driftnet", "-f", "cap", "-w", "-W", port, "-d", recipe.folder / "d", "-v")
    recipe.check("it listens", until(lambda: listens(port)), driftnet.output()[-800:])
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
        body = page.read()
        recipe.check("the page", page.status == 200 and page.headers.get_content_type() == "text/html", page.headers)
        recipe.check("all of the page", len(body) == int(page.headers["content-length"]) > 1000, len(body))
    peer = connect(port, protocol="images-pipe-protocol")
    recipe.check("the subprotocol", peer.head.startswith("HTTP/1.1 101 "), peer.head)
    go.set()
    if not recipe.is_ours:
        # Nothing wakes the loop of Debian's library when the capture thread asks; a connection does.
        threading.Timer(2.5, lambda: listens(port)).start()
    names = [peer.message() for _ in range(2)]
    recipe.check("names of pictures", all(kind == TEXT and b"driftnet-" in name for kind, name in names), names)
    name = re.search(rb"driftnet-[^\" ]+\.png", names[0][1])
    with urlopen(f"http://127.0.0.1:{port}/{name[0].decode()}", timeout=10) as picture:
        body = picture.read()
        is_png = picture.headers.get_content_type() == "image/png" and body.startswith(b"\x89PNG")
        recipe.check("a picture", is_png, picture.headers)
    status, _ = driftnet.terminate()
    recipe.equal("its exit status", status, 0)
    recipe.no_complaints(driftnet)


def capture(fifo, go, count):
    """Writes a packet capture with answers of HTTP that carry pictures."""
    try:
        with open(fifo, "wb", buffering=0) as out:
            write_capture(out, go, count)
    except BrokenPipeError:
        # The program has what it is asked about, and was ended.
        pass


def write_capture(out, go, count):
    out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    go.wait(20)
    for index in range(count):
        picture = png(120, 120, index)
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture
        port, sequence = 4000 + index, 1000
        out.write(packet(port, sequence - 1, 2, b""))
        for at in range(0, len(answer), 1400):
            out.write(packet(port, sequence + at, 16, answer[at : at + 1400]))
        out.write(packet(port, sequence + len(answer), 17, b""))
    threading.Event().wait(20)


def packet(port, sequence, flags, payload):
    tcp = struct.pack(">HHIIBBHHH", 80, port, sequence, 1, 5 << 4, flags, 65000, 0, 0) + payload
    addresses = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, *addresses)
    frame = bytes(12) + b"\x08\0" + ip + tcp
    return struct.pack("<IIII", 1_700_000_000, 0, len(frame), len(frame)) + frame


def png(width, height, seed):
    rows = (bytes((x * y + seed * 37 + c * 50) & 255 for x in range(width) for c in range(3)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
