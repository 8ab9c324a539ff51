"""rtpengine: HTTP requests and WebSocket messages that a pool of threads answers, each after its callback has returned."""

import json
import socket

from http.client import HTTPConnection

from harness import free_port, listens, until
from websocket import CLOSE, TEXT, connect


def run(recipe):
    port, control = free_port(), free_port(socket.SOCK_DGRAM)
    rtpengine = recipe.start(
        "rtpengine", "-f", "-E", "-t", "-1", "-i", "127.0.0.1", "-n", f"127.0.0.1:{control}", f"--listen-http=127.0.0.1:{port}",
        "-L", "6", f"--pidfile={recipe.folder / 'pid'}",
    )  # fmt: skip
    recipe.check("it listens", until(lambda: listens(port)), rtpengine.output()[-800:])
    rtpengine.look()
    # All of them on one connection.
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    asks = [
        ("GET", "/ping", None, {}, 200, b"pong\n"),
        ("GET", "/metrics", None, {}, 200, b"# HELP rtpengine_sessions"),
        ("GET", "/nothing", None, {}, 404, b"not found\n"),
        ("POST", "/ng", b"1_1 d7:command4:pinge", {"Content-Type": "application/x-rtpengine-ng"}, 200, b"1_1 d6:result4:ponge"),
        ("GET", "/ping", None, {}, 200, b"pong\n"),
    ]
    for method, path, body, fields, status, beginning in asks:
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        text = answer.read()
        recipe.check(f"{method} {path}", answer.status == status and text.startswith(beginning), (answer.status, text[:200]))
    connection.close()
    speak(recipe, port)
    status, _ = rtpengine.terminate()
    recipe.equal("its exit status", status, 0)
    recipe.no_complaints(rtpengine)


def speak(recipe, port):
    echo = connect(port, protocol="echo.rtpengine.com")
    recipe.check("echo: the handshake", echo.head.startswith("HTTP/1.1 101 "), echo.head)
    messages = [b"hello", b"", b"x" * 20000]
    for message in messages:
        echo.send(TEXT, message)
    wanted = [(TEXT, message) for message in messages if message]
    answers = []
    while len(answers) < len(wanted):
        kind, text = echo.message()
        answers += [(kind, text)] if text else []
    recipe.check("echo", [text for _, text in answers] == messages[::2], [(kind, len(text)) for kind, text in answers])
    ng = connect(port, protocol="ng.rtpengine.com")
    ng.send(TEXT, b"7_7 d7:command4:pinge")
    recipe.equal("ng", ng.message()[1], b"7_7 d6:result4:ponge")
    command = connect(port, protocol="cli.rtpengine.com")
    command.send(TEXT, b"list numsessions")
    recipe.check("cli", b"Current" in command.message()[1], "no numbers")
    janus = connect(port, protocol="janus-protocol")
    janus.send(TEXT, json.dumps({"janus": "ping", "transaction": "t1"}).encode())
    answer = json.loads(janus.message()[1])
    recipe.equal("janus", (answer["janus"], answer["transaction"]), ("pong", "t1"))
    for peer in (echo, ng, command, janus):
        peer.send(CLOSE, b"\x03\xe8")
        recipe.check("the close is answered", peer.message()[0] == CLOSE, "no")
    head = connect(port, protocol="nobody").head
    recipe.check("an unknown subprotocol is refused", not head.startswith("HTTP/1.1 101"), head)
