"""C programs of our own, compiled against Debian's header: one prints the same on either library, one misuses ours."""

import shutil
import socket
from pathlib import Path

from harness import free_port
from websocket import CLOSE, TEXT, connect

SOURCES = Path(__file__).resolve().parent / "c"
REQUEST = (
    b"GET /a%20b/c?a=1&b=2%26&c HTTP/1.1\r\nHost: h:1\r\nAccept: a\r\nAccept: b\r\nX-Test: yes\r\nCookie: q=1\r\nUser-Agent: ua\r\n"
    b"Connection: close\r\n\r\n"
)
# Memory that is lost for good, and everything that memcheck reports, is a fault.
VALGRIND = ("valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite")


def calls(recipe):
    compile_program(recipe, "calls")
    ours = say(recipe, recipe.library)
    recipe.check("it runs to its end", ours.endswith("ended\n"), ours[-500:])
    if recipe.is_ours:
        theirs = say(recipe, None)
        differing = [pair for pair in zip(theirs.splitlines(), ours.splitlines()) if pair[0] != pair[1]]
        recipe.check("both libraries print the same", ours == theirs, differing[:6])


def say(recipe, library):
    port = free_port()
    program = recipe.start("./calls", port, library=library)
    if not program.says("listening"):
        return program.output()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall(REQUEST)
        while stream.recv(4096):
            pass
    program.end(10)
    return program.output()


def misuse(recipe):
    if not recipe.is_ours:
        return
    compile_program(recipe, "misuse")
    recipe.check("valgrind is there", shutil.which("valgrind"), "install Debian's package valgrind")
    for command in ((), VALGRIND):
        port = free_port()
        program = recipe.start(*command, "./misuse", port)
        what = "with memcheck" if command else "alone"
        recipe.check(f"{what}: it listens", program.says("listening", 30), program.output()[-800:])
        for last in ("kill", "close", "cut", "end"):
            peer = connect(port, protocol="first")
            for _ in range(20):
                peer.send(TEXT, b"hello")
            if last == "close":
                peer.send(CLOSE, b"\x03\xe8")
            elif last != "cut":
                peer.send(TEXT, last.encode())
            if last != "cut":
                drain(peer)
            peer.close()
        status, _ = program.end(30)
        recipe.equal(f"{what}: its exit status", status, 0)
        wanted = "closed 4, more destroyed 1, received"
        recipe.check(f"{what}: each connection was closed once", wanted in program.output(), program.output()[-1500:])


def drain(peer):
    try:
        while peer.frame()[1] != CLOSE:
            pass
        peer.send(CLOSE, b"\x03\xe8")
    except (OSError, EOFError):
        pass


def compile_program(recipe, name):
    recipe.run("cc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", name, SOURCES / f"{name}.c", "-lwebsockets")
