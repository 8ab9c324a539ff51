"""WebSocket peers of both kinds for the recipes, with Python's standard library only. Blocking, with a bound on every wait."""

import base64
import contextlib
import hashlib
import os
import socket
import struct
import threading

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
WAIT_SECONDS = 10


class Peer:
    """One end of a connection after its handshake."""

    def __init__(self, stream, received, *, masks):
        self.stream, self.buffer, self.masks = stream, received, masks
        self.head = ""

    def close(self):
        self.stream.close()

    def take(self, length):
        while len(self.buffer) < length:
            more = self.stream.recv(65536)
            if not more:
                raise EOFError("the connection ended")
            self.buffer += more
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def frame(self):
        """The next frame: whether it is the last of its message, its opcode, its payload."""
        first, second = self.take(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack(">H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.take(8))
        mask = self.take(4) if second & 128 else None
        payload = self.take(length)
        return bool(first & 128), first & 15, masked(payload, mask) if mask else payload

    def message(self):
        """The next message: its opcode and all of it. Pings are answered, and a Close frame is a message."""
        whole, kind = b"", None
        while True:
            last, opcode, payload = self.frame()
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                return CLOSE, payload
            elif opcode != PONG:
                kind = opcode or kind
                whole += payload
                if last:
                    return kind, whole

    def send(self, opcode, payload, *, last=True):
        bit = 128 if self.masks else 0
        length = len(payload)
        head = bytes([(128 if last else 0) | opcode])
        if length < 126:
            head += bytes([bit | length])
        elif length < 65536:
            head += bytes([bit | 126]) + struct.pack(">H", length)
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", length)
        if self.masks:
            mask = os.urandom(4)
            payload = mask + masked(payload, mask)
        self.stream.sendall(head + payload)


def masked(payload, mask):
    return bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))


def connect(port, path="/", *, protocol=None, fields=""):
    """A client. `head` is the answer to its handshake, whatever that was."""
    stream = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
    key = base64.b64encode(os.urandom(16)).decode()
    offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    stream.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offer}{fields}\r\n".encode()
    )
    head, rest = read_head(stream)
    peer = Peer(stream, rest, masks=True)
    peer.head = head
    return peer


def read_head(stream):
    received = b""
    while b"\r\n\r\n" not in received:
        more = stream.recv(4096)
        if not more:
            break
        received += more
    head, _, rest = received.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


class Server:
    """Accepts connections on a port of 127.0.0.1, and calls `serve(request, peer)` for each on a thread of its own. Of what is no
    handshake, the peer has the stream, and what has arrived of the body."""

    def __init__(self, serve, port=0):
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", port), backlog=16)
        self.port = self.listener.getsockname()[1]
        self.peers = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self.listener.accept()
                stream.settimeout(60)
                threading.Thread(target=self.shake, args=(stream,), daemon=True).start()

    def shake(self, stream):
        with contextlib.suppress(OSError, EOFError):
            head, rest = read_head(stream)
            request = Request(head)
            peer = Peer(stream, rest, masks=False)
            self.peers.append(peer)
            if key := request.fields.get("sec-websocket-key"):
                protocol = request.fields.get("sec-websocket-protocol", "").split(",")[0].strip()
                answer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
                digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
                stream.sendall(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n{answer}\r\n".encode()
                )
            self.serve(request, peer)
        stream.close()

    def stop(self):
        """Listens no more, and ends every connection."""
        # A thread in accept(2) holds the descriptor: without this it would go on to listen.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.stream.shutdown(socket.SHUT_RDWR)


class Request:
    def __init__(self, head):
        lines = head.split("\r\n")
        self.line = lines[0]
        pairs = (line.split(":", 1) for line in lines[1:] if ":" in line)
        self.fields = {name.lower(): value.strip() for name, value in pairs}
