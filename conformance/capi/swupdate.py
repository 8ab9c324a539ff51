"""swupdate's handler swuforward: an update that is sent on to another device, whose progress comes over a WebSocket."""

import hashlib
import threading

from websocket import CLOSE, TEXT, Server

DESCRIPTION = """\
software = {
  version = "1.0";
  hardware-compatibility: [ "1.0" ];
  images: ( { filename = "inner.swu"; type = "swuforward"; sha256 = "@SHA256@"; properties: { url = ["http://127.0.0.1:@PORT@"]; }; } );
}
"""
INNER = b"an update for another device\n" * 200


def run(recipe):
    requests, ends, uploads = [], [], []
    uploaded = threading.Event()

    def device(request, peer):
        requests.append(request)
        if "sec-websocket-key" not in request.fields:
            uploads.append(upload(request, peer))
            peer.stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            uploaded.set()
            return
        peer.send(TEXT, b'{"type":"message","level":"6","text":"hello from device"}')
        uploaded.wait(8)
        peer.send(TEXT, b'{"type":"status","status":"SUCCESS"}')
        try:
            ends.append(peer.message()[0])
        except (EOFError, OSError) as error:
            ends.append(error)

    server = Server(device)
    make_update(recipe, server.port)
    swupdate = recipe.start(
        "swupdate", "-f", "sw.cfg", "-k", "c.pem", "-l", "5", "-H", "test:1.0", "-i", "fwd.swu", TMPDIR=str(recipe.folder)
    )
    recipe.check("it connects", swupdate.says("established"), swupdate.output()[-800:])
    swupdate.look()
    status, _ = swupdate.end(20)
    output = swupdate.output()
    # It ends with 1 now and then after a success, with Debian's library too.
    recipe.check("it ends by itself", status in (0, 1), status)
    for text in ("hello from device", "SUCCESS", "SWUPDATE successful !"):
        recipe.check(f"it says {text}", text in output, output[-800:])
    asked = [request for request in requests if "sec-websocket-key" in request.fields]
    found = [(request.line, request.fields.get("sec-websocket-protocol")) for request in asked]
    recipe.equal("the request", found, [("GET / HTTP/1.1", "swupdate-status-protocol")])
    recipe.check("the update arrived", uploads and INNER in uploads[0], [len(body) for body in uploads])
    recipe.check("the connection was ended", ends and (ends[0] == CLOSE or isinstance(ends[0], EOFError)), ends)
    recipe.no_complaints(swupdate)
    server.stop()


def upload(request, peer):
    length = int(request.fields.get("content-length", 0))
    body = peer.buffer
    is_chunked = "chunked" in request.fields.get("transfer-encoding", "")
    while not body.endswith(b"0\r\n\r\n") if is_chunked else len(body) < length:
        more = peer.stream.recv(65536)
        if not more:
            break
        body += more
    return body


def make_update(recipe, port):
    recipe.run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-days", "2",
        "-subj", "/CN=test", "-addext", "extendedKeyUsage=emailProtection,codeSigning",
    )  # fmt: skip
    recipe.write("sw.cfg", "globals : { verbose = true; loglevel = 5; };\n")
    recipe.write("sw-description", DESCRIPTION, SHA256=hashlib.sha256(INNER).hexdigest(), PORT=port)
    recipe.run(
        "openssl", "cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", "-signer", "c.pem", "-inkey", "k.pem",
        "-outform", "DER", "-nosmimecap", "-binary",
    )  # fmt: skip
    (recipe.folder / "inner.swu").write_bytes(INNER)
    names = ["sw-description", "sw-description.sig", "inner.swu"]
    entries = [entry(name, (recipe.folder / name).read_bytes(), number) for number, name in enumerate(names, 1)]
    archive = b"".join(entries) + entry("TRAILER!!!", b"", 0)
    (recipe.folder / "fwd.swu").write_bytes(padded(archive, 512))


def entry(name, data, inode):
    """A file of an archive of cpio(5) with checksums."""
    checksum = sum(data) & 0xFFFFFFFF if inode else 0
    numbers = (inode, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, checksum)
    head = b"070702" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    return padded(head, 4) + padded(data, 4)


def padded(data, size):
    return data + bytes(-len(data) % size)
