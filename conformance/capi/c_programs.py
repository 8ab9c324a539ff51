"""C programs of our own, compiled against Debian's header: one prints the same on either library, the others are for ours."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from harness import free_port
from websocket import CLOSE, TEXT, connect

TESTS = Path(__file__).resolve().parents[2] / "crates/sockeye-capi/tests"
EXPORTS = Path(__file__).resolve().parents[2] / "crates/sockeye-capi/exports"
SOURCES = Path(__file__).resolve().parent / "c"
REQUEST = (
    b"GET /a%20b/c?a=1&b=2%26&c HTTP/1.1\r\nHost: h:1\r\nAccept: a\r\nAccept: b\r\nX-Test: yes\r\nCookie: q=1\r\nUser-Agent: ua\r\n"
    b"Connection: close\r\n\r\n"
)
# Memory that is lost for good, and everything that memcheck reports, is a fault.
VALGRIND = (
    "valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
    f"--suppressions={TESTS / 'valgrind.supp'}",
)
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# How a program is compiled, and run.
WAYS = {"alone": ((), ()), "with memcheck": ((), VALGRIND), "with AddressSanitizer and UBSan": (SANITIZERS, ())}
THREADS = {"with ThreadSanitizer": (("-fsanitize=thread",), ())}


def ways(recipe, name):
    """Each way of the program of that name on our library: what it is called, and the words that run it."""
    if not recipe.is_ours:
        return
    recipe.check("valgrind is there", shutil.which("valgrind"), "install Debian's package valgrind")
    for what, (flags, command) in (THREADS if recipe.watches_threads else WAYS).items():
        compile_program(recipe, name, *flags)
        yield what, (*command, f"./{name}")


def calls(recipe):
    same(recipe, "calls", [REQUEST])


def deadlines(recipe):
    same(recipe, "deadlines", [b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % path for path in (b"deadline", b"timer")])


def same(recipe, name, requests):
    """A program that says the same of these requests on either library."""
    compile_program(recipe, name)
    ours = say(recipe, name, requests, recipe.library)
    recipe.check("it runs to its end", ours.endswith("ended\n"), ours[-500:])
    if recipe.is_ours:
        theirs = say(recipe, name, requests, None)
        differing = [pair for pair in zip(theirs.splitlines(), ours.splitlines()) if pair[0] != pair[1]]
        recipe.check("both libraries print the same", ours == theirs, differing[:6])
        compile_program(recipe, name, *SANITIZERS)
        watched = say(recipe, name, requests, recipe.library)
        recipe.check("the same with AddressSanitizer and UBSan", watched == ours, watched[-3000:])


def say(recipe, name, requests, library):
    port = free_port()
    program = recipe.start(f"./{name}", port, library=library)
    if not program.says("listening"):
        return program.output()
    for request in requests:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
            stream.sendall(request)
            with contextlib.suppress(ConnectionResetError):
                while stream.recv(4096):
                    pass
    program.end(10)
    return program.output()


# How often all calls are tried with a connection that has ended: a million calls, and as many as there is time for where they are slow.
OFTEN, SELDOM = 50_000, 500


def misuse(recipe):
    for what, command in ways(recipe, "misuse"):
        port = free_port()
        program = recipe.start(*command, port, OFTEN if what == "alone" else SELDOM)
        recipe.check(f"{what}: it listens", program.says("listening", 30), program.output()[-800:])
        for last in ("kill", "close", "cut", "end"):
            peer = connect(port, protocol="first")
            for _ in range(20):
                peer.send(TEXT, b"hello")
            if last == "close":
                peer.send(CLOSE, b"\x03\xe8")
            elif last != "cut":
                peer.send(TEXT, last.encode())
            frames = drain(peer) if last != "cut" else []
            if last == "kill":
                # As much of the reason as fits, with a mark for each byte that is no UTF-8.
                recipe.equal(f"{what}: its Close frame", frames[-1:], [(CLOSE, b"\x03\xe8" + b"\xef\xbf\xbd" * 41)])
            peer.close()
        status, _ = program.end(30)
        wanted = "closed 4, more destroyed 1, received"
        recipe.check(f"{what}: each connection was closed once", wanted in program.output(), program.output()[-1500:])
        recipe.check(f"{what}: it ends with 0", status == 0, f"{status}: {program.output()[-6000:]}")


def elsewhere(recipe):
    for what, command in ways(recipe, "elsewhere"):
        program = recipe.start(*command)
        status, _ = program.end(60)
        recipe.equal(f"{what}: what it did", program.output(), "opened 20, closed 20, received 80, timed 20\n")
        recipe.equal(f"{what}: its exit status", status, 0)


# Sequences of random calls, and how many where they are slow.
SEQUENCES, FEW = 1500, 60


def random(recipe):
    for what, command in ways(recipe, "random"):
        count = SEQUENCES if what == "alone" else FEW
        program = recipe.start(*command, 1, count)
        status, _ = program.end(240)
        recipe.check(f"{what}: the rules are kept", "\nend\n" in "\n" + program.output(), program.output()[-3000:])
        recipe.equal(f"{what}: its exit status", status, 0)


def arguments(recipe):
    """Each function with each argument wrong, alone and with memcheck."""
    if not recipe.is_ours:
        return
    folder = TESTS / "arguments"
    with (recipe.folder / "calls.inc").open("w") as calls:
        subprocess.run([sys.executable, folder / "generate.py", EXPORTS / "lws17.txt"], stdout=calls, check=True, timeout=30)
    # The calls are wrong on purpose.
    recipe.run("cc", "-std=gnu11", "-O1", "-g", "-w", "-I.", "-o", "arguments", folder / "calls17.c", "-lwebsockets")
    for command in ((), VALGRIND):
        what = "with memcheck" if command else "alone"
        program = recipe.start(*command, "./arguments")
        status, _ = program.end(120)
        recipe.check(f"{what}: it comes to its end", status == 0 and "ended\n" in program.output(), (status, program.output()[-1500:]))


def returns(recipe):
    """Callbacks that return what is not 0, alone and with memcheck."""
    if not recipe.is_ours:
        return
    compile_program(recipe, "returns")
    for command in ((), VALGRIND):
        what = "with memcheck" if command else "alone"
        program = recipe.start(*command, "./returns")
        status, _ = program.end(180)
        wanted = (0, "many reasons came, ended\n")
        recipe.equal(f"{what}: the loop goes on", (status, program.output()[-1500:]), wanted)


def tls(recipe):
    """Both libraries take and refuse the same; what only ours refuses is behind that."""
    compile_program(recipe, "tls")
    recipe.check("there are certificates", "CERTIFICATES" in os.environ, "CERTIFICATES names the folder of xtask/src/certificates.rs")

    def said(library, *words):
        program = recipe.start("./tls", *words, library=library)
        status, _ = program.end(60)
        return program.output().splitlines(), status

    theirs, _ = said(None)
    recipe.equal("Debian's prints the end", theirs[-1:], ["ended"])
    if not recipe.is_ours:
        return
    ours, status = said(recipe.library, "all")
    differing = [pair for pair in zip(theirs[:-1], ours) if pair[0] != pair[1]]
    recipe.check("both libraries take and refuse the same", not differing, differing)
    wanted = [
        "nobody is known, any will do: received", "a certificate of another authority: refused", "a key with a password: refused", "a context of OpenSSL: no context", "no authority at all: refused",
        "demands without an authority: no listener", "a path that is no text: no listener", "a key alone: no listener", "ended",
    ]
    recipe.equal("what cannot be done is refused", (ours[len(theirs) - 1:], status), (wanted, 0))


def stubs(recipe):
    """A function that is not there says its name and ends the program."""
    if not recipe.is_ours:
        return
    library = ctypes.CDLL(str(Path(recipe.library) / "libwebsockets.so.17"))
    silent = []
    names = (EXPORTS / "lws17-unimplemented.txt").read_text().split()
    for name in names:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writer, 2)
            library[name]()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as said:
            text = said.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGABRT or name not in text:
            silent.append((name, status, text))
    recipe.check(f"{len(names)} functions say their name and abort", not silent, silent[:3])


def drain(peer):
    """The kinds and payloads of all that comes, up to a Close frame, which is answered, or the end of the stream."""
    frames = []
    with contextlib.suppress(OSError, EOFError):
        while not frames or frames[-1][0] != CLOSE:
            frames.append(peer.frame()[1:])
        peer.send(CLOSE, b"\x03\xe8")
    return frames


def compile_program(recipe, name, *flags):
    words = ("-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", *flags, "-o", name)
    recipe.run("cc", *words, SOURCES / f"{name}.c", "-lwebsockets")
