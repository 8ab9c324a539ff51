"""Compiles and runs the C programs of `tests/c` on a library that `cargo xtask capi` has built.

    run.py FOLDER CERTIFICATES [--threads] [NAME]..

FOLDER has `lib` and `include`, CERTIFICATES what xtask/src/certificates.rs makes. A program passes when it ends with 0 and prints what
is in NAME.out: as it is, under valgrind, and compiled with AddressSanitizer and UBSan. The header is compiled in every way that programs are, and the examples as docs/c.md says.
With --threads the library is one that ThreadSanitizer watches, and so are the programs, which are those that make threads.
Prints `ok NAME` or `not ok NAME: why`.
"""

import difflib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE / "c"
THEN = HERE / "then"
THREADS = HERE / "threads"
ROOT = HERE.parents[2]
EXAMPLES = ROOT / "examples" / "c"

# Seconds. A program bounds its own waits; this is for one that does not come back.
LIMIT = 300

# Words for programs that take some: as they are, and where they are slow.
ARGUMENTS = {"random": (["1", "1500"], ["5001", "60"]), "stale": (["2100", "500"], ["100", "200"])}

WARNINGS = ["-std=gnu99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
VALGRIND = [
    "valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite",
    "--show-leak-kinds=definite", "--num-callers=30", f"--suppressions={HERE / 'valgrind.supp'}",
]


class Failed(Exception):
    pass


def run(command, **options):
    """What a program printed on standard output. It is ended with all that it has started."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True, **options
        )
        try:
            code = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            code = f"nothing after {LIMIT} s"
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="backslashreplace"))
    return code, texts[0], texts[1]


def must(command, **options):
    code, output, errors = run(command, **options)
    if code != 0:
        words = " ".join(map(str, command))
        raise Failed(f"`{words}` ended with {code}\n{output[-3000:]}{errors[-6000:]}")
    return output


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def request(port, target):
    """The answer to a request, from its status line on."""
    with socket.create_connection(("127.0.0.1", port), LIMIT) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.decode()


class Server:
    """An example that has said that it listens."""

    def __init__(self, words, environment):
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            self.process.kill()
            raise Failed(f"{words[0]} said `{line}`")

    def end(self, how):
        """What it says at its end, asked for by a signal or the end of its input."""
        if how is not None:
            self.process.send_signal(how)
        try:
            output, _ = self.process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed(f"it did not end within {LIMIT} s") from None
        if self.process.returncode != 0:
            raise Failed(f"it ended with {self.process.returncode}: {output}")
        return output


class Bench:
    def __init__(self, folder, certificates, work):
        self.folder = folder
        self.work = work
        # What is made once, each with the lock of who makes it.
        self.lock = threading.Lock()
        self.making = {}
        self.include = f"-I{folder / 'include'}"
        self.environment = dict(
            os.environ,
            LD_LIBRARY_PATH=str(folder / "lib"),
            ASAN_OPTIONS="detect_leaks=1:abort_on_error=0",
            UBSAN_OPTIONS="print_stacktrace=1",
            CERTIFICATES=str(certificates),
            TSAN_OPTIONS="exitcode=66:history_size=7",
        )
        self.environment.pop("http_proxy", None)

    def header(self, compiler, flags):
        """The header, as programs include it."""
        language = "c++" if "++" in compiler else "c"
        must([compiler, "-x", language, *flags, "-Wall", "-Werror", self.include, "-fsyntax-only", SOURCES / "header.c"])

    def compile(self, name, kind, flags, folder=SOURCES):
        """The program; what all programs of a kind have in common is compiled once, and so is one that runs in two ways."""
        program = self.work / f"{name}-{kind}"
        compiler = ["cc", "-g", *WARNINGS, *flags, self.include]
        common = self.work / f"common-{kind}.o"
        self.once(common, [*compiler, "-c", SOURCES / "common.c"])
        self.once(program, [*compiler, folder / f"{name}.c", common, f"-L{self.folder / 'lib'}", "-lwebsockets", "-lpthread"])
        return program

    def once(self, file, command):
        """Makes the file, unless another thread has, or waits for that."""
        with self.lock:
            making = self.making.setdefault(file, threading.Lock())
        with making:
            if not file.exists():
                must([*command, "-o", file])

    def judge(self, name, command):
        code, output, errors = run(command, env=self.environment, cwd=self.work)
        wanted = (SOURCES / f"{name}.out").read_bytes().decode(errors="backslashreplace")
        if output != wanted:
            lines = difflib.unified_diff(wanted.splitlines(), output.splitlines(), f"{name}.out", "printed", lineterm="", n=2)
            raise Failed(f"ended with {code}\n" + "\n".join(lines) + "\n" + errors[-6000:])
        if code != 0:
            raise Failed(f"ended with {code}\n{errors[-6000:]}")

    def watched(self, name):
        program = self.compile(name, "watched", ["-O1", "-fsanitize=thread"])
        self.judge(name, [program, *ARGUMENTS.get(name, ([], []))[1]])

    def planted(self):
        """A race in which the library reads: if it is not found, nothing is watched."""
        program = self.compile("planted", "watched", ["-O1", "-fsanitize=thread"], THREADS)
        code, output, errors = run([program], env=self.environment, cwd=self.work)
        if code != 66 or "data race" not in errors or "libwebsocket_write" not in errors:
            raise Failed(f"ended with {code}, and a race is planted\n{output}{errors[-6000:]}")

    def plain(self, name):
        program = self.compile(name, "plain", ["-O1"])
        self.judge(name, [program, *ARGUMENTS.get(name, ([], []))[0]])

    def valgrind(self, name):
        program = self.compile(name, "plain", ["-O1"])
        self.judge(name, [*VALGRIND, program, *ARGUMENTS.get(name, ([], []))[1]])

    def sanitized(self, name):
        program = self.compile(name, "sanitized", ["-O1", "-fno-omit-frame-pointer", *SANITIZERS])
        self.judge(name, [program, *ARGUMENTS.get(name, ([], []))[1]])

    def arguments(self, checker):
        """Each function with each argument wrong."""
        work = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        folder, options = HERE / "arguments", ["-D_DEBUG", self.include]
        calls = must([sys.executable, folder / "generate.py", HERE.parent / "exports" / "lws13.txt", *options])
        (work / "calls.inc").write_text(calls)
        # The calls are wrong on purpose.
        must(["cc", "-std=gnu11", "-O1", "-g", "-w", *options, f"-I{work}", "-o", work / "arguments", folder / "calls13.c",
              f"-L{self.folder / 'lib'}", "-lwebsockets"])
        code, output, errors = run([*checker, work / "arguments"], env=self.environment)
        if code != 0 or not output.endswith("ended\n"):
            raise Failed(f"ended with {code}: {output[-2000:]}\n{errors[-6000:]}")

    def then(self, flags, checker):
        """Programs with the call patterns of that time, against each other; the server below `checker`."""
        work = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        for name in ("server", "client", "ping"):
            must(["cc", "-Wall", "-Werror", "-std=gnu99", "-pedantic", "-g", *flags, self.include, "-o", work / name,
                  THEN / f"{name}.c", f"-L{self.folder / 'lib'}", "-lwebsockets"])
        page = work / "page.html"
        page.write_text("<p>then</p>" * 800)
        port = free_port()
        server = Server([*checker, work / "server", str(port), page, "30"], self.environment)
        try:
            self.talk_then(work, port, page)
        except BaseException:
            server.process.kill()
            raise
        server.end(signal.SIGINT)
        if not checker:
            self.daemon_then(work, port, page)

    def talk_then(self, work, port, page):
        answer = request(port, "/")
        if not answer.startswith("HTTP/1.1 200") or not answer.endswith(page.read_text()):
            raise Failed(f"the page: {answer[:1000]}")
        code, output, errors = run([work / "client", "127.0.0.1", str(port)], env=self.environment)
        numbers = [f"{len(str(number))} '{number}'" for number in range(30)]
        if code != 0 or output.splitlines() != numbers or "closed\n" not in errors:
            raise Failed(f"client: {code}\n{output}{errors}")
        for count, clients, size, kind in ((20, 1, 64, []), (20, 5, 125, []), (10, 1, 4096, ["mirror"]), (5, 3, 200, ["mirror"])):
            command = [work / "ping", "localhost", str(port), str(count), str(clients), str(size), *kind]
            code, output, errors = run(command, env=self.environment)
            received = count * clients * (clients if kind else 1)
            wanted = f"to 127.0.0.1\n{count * clients} sent, {received} received, 0 wrong\n{clients} closed\n"
            if code != 0 or output != wanted:
                raise Failed(f"ping {count} {clients} {size} {kind}: {code}\n{output}{errors}")

    def daemon_then(self, work, port, page):
        lock = work / "lock"
        command = [work / "server", str(port), page, "30", lock]
        code = subprocess.run(command, stdin=subprocess.DEVNULL, env=self.environment, timeout=LIMIT).returncode
        number = int(lock.read_text())
        try:
            deadline = time.monotonic() + LIMIT
            while True:
                try:
                    answer = request(port, "/")
                    break
                except ConnectionRefusedError:
                    # The one who began has ended, and the daemon goes on to listen.
                    if time.monotonic() > deadline:
                        raise Failed("the daemon does not listen") from None
                    time.sleep(0.01)
        finally:
            os.kill(number, signal.SIGINT)
        while lock.exists():
            if time.monotonic() > deadline:
                raise Failed("the lock is not removed")
            time.sleep(0.01)
        if code != 0 or not answer.endswith(page.read_text()):
            raise Failed(f"the daemon: {code}, {answer[:1000]}")

    def package(self, is_static):
        """A program that is built as pkg-config says, and with the archive."""
        environment = dict(self.environment, PKG_CONFIG_PATH=str(self.folder / "lib" / "pkgconfig"))
        words = must(["pkg-config", "--cflags", "--libs", *(["--static"] if is_static else []), "libwebsockets"], env=environment)
        words = words.split()
        if is_static:
            words[words.index("-lwebsockets")] = "-l:libwebsockets.a"
        program = self.work / f"package-{is_static}"
        must(["cc", *WARNINGS, "-o", program, SOURCES / "functions.c", SOURCES / "common.c", *words])
        if is_static:
            environment["LD_LIBRARY_PATH"] = ""
        self.judge("functions", [program])

    def throwing(self):
        """Exceptions of C++ end the process with a message, and reach nobody."""
        program = self.work / "throwing"
        must(["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", self.include, "-o", program, HERE / "throwing.cpp",
              f"-L{self.folder / 'lib'}", "-lwebsockets"])
        for where in ("create", "service"):
            code, output, errors = run([program, where, str(free_port())], env=self.environment)
            if (code, output) != (-signal.SIGABRT, "thrown\n") or "foreign exception" not in errors:
                raise Failed(f"{where}: {code}\n{output}{errors}")

    def examples(self):
        """Built by the commands of docs/c.md, and run with each other."""
        folder = self.work / "examples"
        shutil.copytree(EXAMPLES, folder)
        environment = dict(self.environment, PKG_CONFIG_PATH=str(self.folder / "lib" / "pkgconfig"))
        lines = [line for line in (ROOT / "docs" / "c.md").read_text().splitlines() if line.startswith("cc ")]
        sources = sorted(source.stem for source in EXAMPLES.glob("*.c"))
        # The server is built once more from the Debian package.
        if sorted({line.split()[3] for line in lines}) != sources:
            raise Failed(f"docs/c.md builds other examples than {sources}")
        for line in lines:
            must(["sh", "-c", line + " -Wall -Wextra -Werror -std=gnu99 -pedantic"], cwd=folder, env=environment)

        wanted = "message 1\nmessage 2\nmessage 3\nclosed\n"
        page = folder / "page.html"
        page.write_text("<p>here</p>")
        port = free_port()
        server = Server([folder / "server", str(port), page], environment)
        talk = run([folder / "client", "127.0.0.1", str(port)], env=environment)
        answer = request(port, "/")
        end = server.end(signal.SIGTERM)
        if talk[:2] != (0, wanted) or "text/html" not in answer or not answer.endswith("<p>here</p>") or end != "ended\n":
            raise Failed(f"server and client: {talk}, {answer}, {end}")

        port = free_port()
        server = Server([folder / "external_poll", str(port)], environment)
        talk = run([folder / "client", "127.0.0.1", str(port)], env=environment)
        end = server.end(None)
        if talk[:2] != (0, wanted) or end != "ended, 0 descriptors are left\n":
            raise Failed(f"external_poll and client: {talk}, {end}")
        talk = run([folder / "client", "127.0.0.1", str(port)], env=environment)
        if talk[0] != 1 or "cannot be reached" not in talk[2]:
            raise Failed(f"a client alone: {talk}")


def checks_of_threads(bench, names):
    """The programs that have several threads, under ThreadSanitizer."""
    if not names:
        yield "a planted race is found", bench.planted
    for path in sorted(SOURCES.glob("*.out")):
        name = path.stem
        if (name in names or not names) and "pthread_create" in path.with_suffix(".c").read_text():
            yield f"{name}, ThreadSanitizer", lambda name=name: bench.watched(name)


def checks(bench, names):
    """A name and a function for each check, the longest first."""
    programs = sorted(path.stem for path in SOURCES.glob("*.out"))
    if os.geteuid() != 0:
        print("left out: users, which only root can run", flush=True)
        programs.remove("users")
    for name in programs:
        if names and name not in names:
            continue
        yield f"{name}, valgrind", lambda name=name: bench.valgrind(name)
        yield f"{name}, sanitizers", lambda name=name: bench.sanitized(name)
        yield name, lambda name=name: bench.plain(name)
    if names:
        return
    for compiler in ("gcc", "clang"):
        for standard in ([], ["-std=c99", "-pedantic"], ["-std=gnu99", "-pedantic"], ["-std=c11", "-pedantic"]):
            for defined in ([], ["-D_DEBUG"], ["-DLWS_NO_EXTENSIONS"]):
                flags = [*standard, *defined]
                yield " ".join(["header,", compiler, *flags]), lambda c=compiler, f=flags: bench.header(c, f)
    for compiler in ("g++", "clang++"):
        flags = ["-std=c++17", "-pedantic"]
        yield f"header, {compiler}", lambda c=compiler, f=flags: bench.header(c, f)
    for flags in ([], ["-DEXTERNAL_POLL"], ["-D_DEBUG"]):
        yield " ".join(["programs of that time", *flags]), lambda f=flags: bench.then(f, [])
    yield "programs of that time, valgrind", lambda: bench.then([], VALGRIND)
    yield "programs of that time, -DEXTERNAL_POLL, valgrind", lambda: bench.then(["-DEXTERNAL_POLL"], VALGRIND)
    yield "every argument wrong, valgrind", lambda: bench.arguments(VALGRIND)
    yield "every argument wrong", lambda: bench.arguments([])
    yield "exceptions", bench.throwing
    yield "examples", bench.examples
    yield "pkg-config", lambda: bench.package(False)
    yield "pkg-config, the archive", lambda: bench.package(True)


def main():
    folder, certificates = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    names = [word for word in sys.argv[3:] if word != "--threads"]
    chosen = checks_of_threads if "--threads" in sys.argv[3:] else checks
    failed = 0
    with tempfile.TemporaryDirectory(prefix="sockeye-capi-") as work:
        bench = Bench(folder, certificates, pathlib.Path(work))

        def one(check):
            name, work = check
            try:
                work()
            except Failed as failure:
                return name, str(failure)
            return name, None

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for name, failure in pool.map(one, chosen(bench, names)):
                if failure is None:
                    print(f"ok {name}", flush=True)
                    continue
                failed += 1
                print(f"not ok {name}: {failure}", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
