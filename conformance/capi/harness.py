"""What the recipes share: programs with a bound on their life, ports, waits, and how a check is told."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


# What is theirs is theirs: of what memcheck finds, only what has this library in it is judged. By its whole path a file is known as ours.
MEMCHECK = (
    "valgrind", "-q", "--log-file=memcheck.%p", "--leak-check=full", "--show-leak-kinds=definite", "--num-callers=40", "--fullpath-after=",
)


class Pace:
    """How many times as long as usual things may take."""

    slower = 1


class Recipe:
    """A run of one program. `library` is the folder of the library that is tested; None: Debian's own."""

    def __init__(self, name, library, folder, *, watches_threads=False, watches_memory=False):
        self.watches_threads, self.watches_memory = watches_threads, watches_memory
        self.name, self.library, self.folder = name, library, Path(folder)
        self.failed = 0
        self.programs = []

    @property
    def is_ours(self):
        return self.library is not None

    def check(self, what, holds, why=""):
        self.failed += not holds
        print(f"ok {self.name}: {what}" if holds else f"not ok {self.name}: {what}: {why}", flush=True)

    def equal(self, what, found, wanted):
        self.check(what, found == wanted, f"{found!r} instead of {wanted!r}")

    def start(self, *command, library=..., **environment):
        """Starts a program in a session of its own, with its output in a file. `library`: on another one than the recipe's."""
        chosen = self.library if library is ... else library
        # A program of our own has a path, and a recipe that does this by itself.
        if self.watches_memory and "/" not in str(command[0]) and command[0] != "valgrind":
            command = (*MEMCHECK, *command)
        program = Program(self, [str(word) for word in command], chosen, environment)
        self.programs.append(program)
        return program

    def run(self, *command):
        """Runs a program of the recipe itself to its end."""
        words = [str(word) for word in command]
        subprocess.run(words, cwd=self.folder, check=True, timeout=30, stdout=sys.stderr)

    def write(self, name, text, **values):
        """Writes a file of the recipe. `@NAME@` in it is the value of that name."""
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def stop(self):
        for program in self.programs:
            program.kill()
        if self.watches_memory:
            logs = list(self.folder.glob("memcheck.*"))
            faults = [fault for log in logs for fault in faults_of(log.read_text(errors="replace"))]
            self.check(f"memcheck has watched {len(logs)} processes", logs)
            self.check("it finds nothing that has this library in it", not faults, "\n".join(faults[:3]))

    def no_complaints(self, program):
        """The library logged no error, and the loader missed nothing."""
        if not self.is_ours:
            return
        lines = [line for line in program.output().splitlines() if "unimplemented" in line or "symbol lookup error" in line]
        self.check("the library has everything that was called", not lines, lines[:3])
        loaded = program.libraries
        self.check("it runs on the library that is tested", loaded and all(self.library in path for path in loaded), loaded)


def faults_of(log):
    """What memcheck says of this library, each with its stacks."""
    blocks = "\n".join(line.partition("== ")[2] for line in log.splitlines()).split("\n\n")
    return [block for block in blocks if " at 0x" in block and re.search(r"sockeye|libwebsockets|\blws_", block)]


class Program:
    def __init__(self, recipe, words, library, environment):
        self.log = recipe.folder / f"{Path(words[0]).name}.{len(recipe.programs)}.log"
        self.libraries = set()
        variables = {**os.environ, **environment}
        if library:
            variables["LD_LIBRARY_PATH"] = library
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words, cwd=recipe.folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def output(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def look(self):
        """Remembers which libwebsockets it has loaded, also as a plugin."""
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{self.process.pid}/maps").read_text(encoding="utf-8")
            self.libraries |= {line.split()[-1] for line in maps.splitlines() if "libwebsockets.so" in line}

    def says(self, text, seconds=10):
        """Whether its output gets to hold `text`."""
        return until(lambda: text in self.output(), seconds)

    def end(self, seconds):
        """Its exit status and how long that took. None: it has not ended."""
        begun = time.monotonic()
        try:
            return self.process.wait(seconds * Pace.slower), time.monotonic() - begun
        except subprocess.TimeoutExpired:
            return None, seconds

    def terminate(self, seconds=10):
        self.look()
        self.process.send_signal(signal.SIGTERM)
        return self.end(seconds)

    def kill(self):
        """Ends it and what it has started: its session is its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)


def until(holds, seconds=10):
    """Waits until something is true, and returns whether it became so."""
    end = time.monotonic() + seconds * Pace.slower
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def temporary():
    return tempfile.TemporaryDirectory(prefix="sockeye-capi-", ignore_cleanup_errors=True)
