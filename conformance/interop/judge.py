"""Python's zlib as the judge of `sockeye echo --compress --broadcast '*'`: judge.py ws://HOST:PORT/

Random messages, compressed by zlib in whatever way RFC 7692 allows, and cut into frames anywhere. What comes back is inflated by one
stream of zlib for each connection, with the window that was agreed on, and has to be what was sent, byte by byte and in order.
Needs nothing but Python. Environment: MESSAGES is how many are sent, SEED another seed than the usual one.
"""

import base64
import hashlib
import os
import random
import re
import select
import socket
import zlib
from collections import deque
from urllib.parse import urlsplit

from checks import check, ensure, equal, main

MESSAGES = int(os.environ.get("MESSAGES", "10000"))
SEED = int(os.environ.get("SEED", "7692"))
# Of each group, whose connections hear what the others publish.
CONNECTIONS = 3
GROUP = 600
# What is sent at a time, so that nobody waits for the other to read: less than the kernel and the server hold.
BATCH = 96 * 1024
PATIENCE = 60

TAIL = b"\x00\x00\xff\xff"
FLUSHES = [zlib.Z_NO_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_BLOCK]
STRATEGIES = [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED]
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
WORDS = "bid ask last size venue time é€ 𝄞 quote the of and XAMS".split()


def offer(numbers):
    """A random offer, and what it says of the parameters."""
    words = ["permessage-deflate"]
    if numbers.random() < 0.25:
        words.append("server_no_context_takeover")
    if numbers.random() < 0.25:
        words.append("client_no_context_takeover")
    if numbers.random() < 0.5:
        words.append(f"server_max_window_bits={numbers.randrange(8, 16)}")
    if (bits := numbers.randrange(12)) < 8:
        words.append(f"client_max_window_bits={8 + bits}")
    elif bits < 11:
        words.append("client_max_window_bits")
    head, *parameters = words
    numbers.shuffle(parameters)
    return "; ".join([head, *parameters])


def parameters(text):
    pairs = (word.strip().partition("=") for word in text.split(";")[1:])
    return {name: int(value) if value else None for name, _, value in pairs}


def agreed(asked, answer):
    """The parameters of the answer, which has to be a legal one to what was asked (RFC 7692 section 7.1)."""
    ensure(answer.split(";")[0].strip() == "permessage-deflate", f"{answer!r} to {asked!r}")
    asked, answer = parameters(asked), parameters(answer)
    server, client = answer.get("server_max_window_bits", 15), answer.get("client_max_window_bits", 15)
    ensure(8 <= server <= asked.get("server_max_window_bits", 15), f"{answer} to {asked}")
    ensure(8 <= client <= (asked.get("client_max_window_bits") or 15), f"{answer} to {asked}")
    ensure("client_max_window_bits" not in answer or "client_max_window_bits" in asked, f"{answer} to {asked}")
    ensure("server_no_context_takeover" in answer or "server_no_context_takeover" not in asked, f"{answer} to {asked}")
    return answer


class Packer:
    """Compresses as a client of zlib may."""

    def __init__(self, numbers, bits, takeover):
        self.numbers, self.takeover = numbers, takeover
        # zlib makes no raw stream of 8 bits; that of 9 refers back by at most 250 bytes. A smaller window is as legal.
        self.bits = numbers.randrange(9, max(bits, 9) + 1) if numbers.random() < 0.3 else max(bits, 9)
        self.history = b""
        self.stream = self.new()

    def new(self):
        numbers = self.numbers
        # A new stream may forget what was, or be told it.
        reach = (1 << self.bits) - 262
        words = self.history[-reach:] if self.takeover and numbers.random() < 0.7 else b""
        level, memory = numbers.choice([1, 1, 6, 6, 9, 0, -1]), numbers.choice([8, 8, 1, 9])
        strategy = numbers.choice(STRATEGIES) if numbers.random() < 0.4 else zlib.Z_DEFAULT_STRATEGY
        made = {"level": level, "wbits": -self.bits, "memLevel": memory, "strategy": strategy}
        return zlib.compressobj(**made, **({"zdict": words} if words else {}))

    def message(self, payload):
        numbers = self.numbers
        if not self.takeover or numbers.random() < 0.02:
            self.stream = self.new()
        packed, at = [], 0
        while payload and numbers.random() < 0.25:
            upto = numbers.randrange(at, len(payload) + 1)
            packed += [self.stream.compress(payload[at:upto]), self.stream.flush(numbers.choice(FLUSHES))]
            at = upto
        packed.append(self.stream.compress(payload[at:]))
        self.history = (self.history + payload)[-32768:]
        if numbers.random() < 0.03:
            # Section 7.2.3.4: a final block, and an empty one behind it.
            packed += [self.stream.flush(zlib.Z_FINISH), b"\x00"]
            self.stream = self.new()
            return b"".join(packed)
        end = self.stream.flush(zlib.Z_FULL_FLUSH if numbers.random() < 0.02 else zlib.Z_SYNC_FLUSH)
        whole = b"".join([*packed, end])
        # zlib adds nothing to a flush that is there already: section 7.2.3.6 has one empty block for an empty message.
        return whole[:-4] if whole.endswith(TAIL) else whole + b"\x00"


class Unpacker:
    """Inflates as a client of zlib does."""

    def __init__(self, bits, takeover, strictly):
        self.bits, self.takeover, self.strictly = bits, takeover, strictly
        self.stream = zlib.decompressobj(-bits)

    def message(self, packed):
        if not self.takeover:
            self.stream = zlib.decompressobj(-self.bits)
        data = packed + TAIL
        if not self.strictly:
            plain = self.stream.decompress(data)
        else:
            # Within one call zlib does not judge how far back the data refers.
            pieces = [self.stream.decompress(data, 64)]
            while self.stream.unconsumed_tail or len(pieces[-1]) == 64:
                pieces.append(self.stream.decompress(self.stream.unconsumed_tail, 64))
            plain = b"".join(pieces)
        ensure(not self.stream.eof and not self.stream.unused_data, "a final block that nothing asked for")
        return plain


class Connection:
    def __init__(self, address, numbers, number):
        self.numbers, self.number = numbers, number
        self.socket = socket.create_connection((address.hostname, address.port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input, self.used = bytearray(), 0
        self.parts, self.opcode, self.packed = [], None, False
        self.own, self.pings = deque(), deque()
        self.compressed = 0
        asked = offer(numbers)
        answer = self.upgrade(address, asked)
        took = agreed(asked, answer)
        self.shown = f"{asked} -> {answer}"
        self.packer = Packer(numbers, took.get("client_max_window_bits", 15), "client_no_context_takeover" not in took)
        strictly = numbers.random() < 0.2
        self.unpacker = Unpacker(took.get("server_max_window_bits", 15), "server_no_context_takeover" not in took, strictly)

    def upgrade(self, address, asked):
        key = base64.b64encode(self.numbers.randbytes(16)).decode()
        # One that is declined before.
        declined = "permessage-deflate; server_max_window_bits=7, " if self.numbers.random() < 0.2 else ""
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Extensions: {declined}{asked}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.input:
            self.fill()
        head, _, rest = bytes(self.input).partition(b"\r\n\r\n")
        self.input = bytearray(rest)
        ensure(head.startswith(b"HTTP/1.1 101 "), f"{head[:200]!r}")
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        found = dict(re.findall(r"(?mi)^(sec-websocket-\w+): (.*?)\r?$", head.decode().replace("Sec-WebSocket", "sec-websocket")))
        equal(found.get("sec-websocket-Accept"), accept)
        return found["sec-websocket-Extensions"]

    def fill(self):
        data = self.socket.recv(1 << 18)
        ensure(data, f"{self.shown if hasattr(self, 'shown') else 'a connection'}: the server has left")
        self.input += data

    def frame(self, first, payload, out):
        length = len(payload)
        if length < 126:
            out += bytes((first, 0x80 | length))
        elif length < 65536:
            out += bytes((first, 0x80 | 126)) + length.to_bytes(2, "big")
        else:
            out += bytes((first, 0x80 | 127)) + length.to_bytes(8, "big")
        # A key of zeros is a key, too.
        key = self.numbers.randbytes(4) if length < 1000 and self.numbers.random() < 0.5 else bytes(4)
        out += key
        if any(key):
            mask = (key * (length // 4 + 1))[:length]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(length, "big")
        out += payload

    def send(self, opcode, payload, out):
        """Appends the frames of a message, with pings between them."""
        numbers = self.numbers
        self.own.append((opcode, payload))
        packs = numbers.random() < 0.85
        data = self.packer.message(payload) if packs else payload
        first = opcode | (0x40 if packs else 0)
        while numbers.random() < 0.25:
            # Most are small, and some are empty.
            size = min(numbers.choice([0, 1, 2, 100, 5000]), len(data))
            self.frame(first, data[:size], out)
            data, first = data[size:], CONTINUATION
            if numbers.random() < 0.2:
                ping = numbers.randbytes(numbers.randrange(9))
                self.pings.append(ping)
                self.frame(0x80 | PING, ping, out)
        self.frame(0x80 | first, data, out)

    def messages(self):
        """The messages that have arrived."""
        while True:
            data, at = self.input, self.used
            if len(data) - at < 2:
                break
            first, length, head = data[at], data[at + 1], 2
            if length == 126:
                head, length = 4, int.from_bytes(data[at + 2 : at + 4], "big")
            elif length == 127:
                head, length = 10, int.from_bytes(data[at + 2 : at + 10], "big")
            if len(data) < at + head or len(data) - at - head < length:
                break
            payload = bytes(data[at + head : at + head + length])
            self.used = at + head + length
            if (message := self.hear(first, payload)) is not None:
                yield message
        del self.input[: self.used]
        self.used = 0

    def hear(self, first, payload):
        opcode = first & 15
        if opcode == PONG:
            ensure(payload in self.pings, f"a pong that was not asked for: {payload!r}")
            while self.pings.popleft() != payload:
                pass
            return None
        if opcode == PING:
            out = bytearray()
            self.frame(0x80 | PONG, payload, out)
            self.socket.sendall(out)
            return None
        ensure(opcode != CLOSE, f"closed: {payload!r}, {self.shown}")
        if opcode != CONTINUATION:
            self.opcode, self.packed = opcode, bool(first & 0x40)
        else:
            equal(first & 0x70, 0)
        self.parts.append(payload)
        if first & 0x80 == 0:
            return None
        whole, self.parts = b"".join(self.parts), []
        if self.packed:
            self.compressed += 1
            whole = self.unpacker.message(whole)
        return self.opcode, whole


def content(numbers):
    """A random message: what it is, and its bytes."""
    kind, size = numbers.random(), numbers.random()
    length = numbers.randrange(300) if size < 0.9 else numbers.randrange(4000) if size < 0.99 else numbers.randrange(70_000)
    if kind < 0.05:
        return numbers.choice([TEXT, BINARY]), b""
    if kind < 0.2:
        return BINARY, numbers.randbytes(length)
    if kind < 0.3:
        return BINARY, numbers.randbytes(numbers.randrange(1, 9)) * (length // 4 + 1)
    if kind < 0.45:
        return TEXT, " ".join(numbers.choices(WORDS, k=length // 5)).encode()
    price = numbers.randrange(10_000, 99_999)
    quote = f'{{"type":"quote","symbol":"{numbers.choice(WORDS)}","bid":{price},"ask":{price + 3},"id":{numbers.randrange(1 << 20)}}}'
    return TEXT, (quote * (1 + length // 300)).encode()


def batch(connection, numbers, published):
    """Sends some messages; those that begin with `*` go to everybody. Returns how many there were."""
    out, count = bytearray(), 0
    while count < 12 and len(out) < BATCH and numbers.random() < 0.95:
        opcode, payload = content(numbers)
        if numbers.random() < 0.15:
            # Each is another, so it is clear whose it is.
            mark = f"*{connection.number} {numbers.randrange(1 << 40)} ".encode()
            payload = mark + payload
            published.append((opcode, payload))
        elif payload.startswith(b"*"):
            continue
        connection.send(opcode, payload, out)
        count += 1
    connection.socket.sendall(out)
    return count


def settle(connections, published):
    """Reads until everybody has what is due: its own in their order, and what each of the others published in its order."""
    due = {}
    for one in connections:
        due[one] = {other.number: deque(published[other.number]) for other in connections if other is not one}
    while waiting := [one for one in connections if one.own or any(due[one].values())]:
        ready, _, _ = select.select([one.socket for one in waiting], [], [], PATIENCE)
        ensure(ready, f"nothing comes: {[(len(one.own), one.shown) for one in waiting]}")
        for one in waiting:
            if one.socket not in ready:
                continue
            one.fill()
            for message in one.messages():
                if one.own and one.own[0] == message:
                    one.own.popleft()
                    continue
                queue = next((queue for queue in due[one].values() if queue and queue[0] == message), None)
                wanted = [one.own[0] if one.own else None, *(queue[0] for queue in due[one].values() if queue)]
                ensure(queue is not None, f"{str(message)[:200]} came, not one of {str(wanted)[:400]}; {one.shown}")
                queue.popleft()


async def group(address, seed, most):
    """One group of connections; returns how many messages were sent."""
    numbers = random.Random(seed)
    connections = [Connection(address, numbers, number) for number in range(CONNECTIONS)]
    count = 0
    while count < most:
        published = {one.number: [] for one in connections}
        for one in connections:
            count += batch(one, numbers, published[one.number])
        settle(connections, published)
    compressed = sum(one.compressed for one in connections)
    ensure(compressed > most // 3, f"only {compressed} messages came compressed")
    for one in connections:
        out = bytearray()
        one.frame(0x80 | CLOSE, (1000).to_bytes(2, "big"), out)
        one.socket.sendall(out)
        while not one.input.endswith(b"\x88\x02\x03\xe8"):
            one.fill()
        one.socket.close()
    return count


async def scenario(url):
    address, sent, number = urlsplit(url), 0, 0
    print(f"# {MESSAGES} messages of seed {SEED}", flush=True)
    while sent < MESSAGES:
        most = min(GROUP, MESSAGES - sent)

        async def one():
            nonlocal sent
            sent += await group(address, f"{SEED}-{number}", most)

        before = sent
        await check(f"zlib: group {number} of seed {SEED}", one, 300)
        if sent == before:
            break
        number += 1
    print(f"# {sent} messages were sent and judged", flush=True)


main(scenario)
