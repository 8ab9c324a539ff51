"""Programs of Debian that were built for libwebsockets 4.1.6, on this library:
run.py [--library FOLDER] [--threads] [--memcheck] [NAME...]

Without a folder they run on Debian's own libwebsockets17, which is how a recipe is proved first. With --threads the library is one that
ThreadSanitizer watches, and so are the programs, which are those of our own that make threads. With --memcheck Debian's programs run below valgrind, and take ten times as long. Prints `ok NAME: what` or
`not ok NAME: what: why` for every check, and succeeds when all are ok.
"""

import argparse
import sys
import traceback
from pathlib import Path

import c_programs
import csound
import driftnet
import janus
import kamailio
import rtpengine
import swupdate
import symbols
from harness import Pace, Recipe, temporary

RECIPES = {
    "symbols": symbols.run,
    "calls": c_programs.calls,
    "deadlines": c_programs.deadlines,
    "misuse": c_programs.misuse,
    "arguments": c_programs.arguments,
    "returns": c_programs.returns,
    "stubs": c_programs.stubs,
    "tls": c_programs.tls,
    "elsewhere": c_programs.elsewhere,
    "random": c_programs.random,
    "kamailio": kamailio.run,
    "swupdate": swupdate.run,
    "csound": csound.run,
    "driftnet": driftnet.run,
    "janus": janus.run,
    "rtpengine": rtpengine.run,
}

# Those with threads of their own.
THREADS = ("misuse", "elsewhere")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--library")
    arguments.add_argument("--threads", action="store_true")
    arguments.add_argument("--memcheck", action="store_true")
    arguments.add_argument("names", nargs="*")
    chosen = arguments.parse_args()
    library = str(Path(chosen.library).resolve()) if chosen.library else None
    failed = 0
    Pace.slower = 10 if chosen.memcheck else 1
    for name in chosen.names or (THREADS if chosen.threads else RECIPES):
        with temporary() as folder:
            recipe = Recipe(name, library, folder, watches_threads=chosen.threads, watches_memory=chosen.memcheck)
            try:
                RECIPES[name](recipe)
            except Exception:  # whatever it is, the other recipes go on
                recipe.check("it runs to its end", False, traceback.format_exc())
            finally:
                recipe.stop()
            if recipe.failed:
                for program in recipe.programs:
                    print(f"--- {program.log.name}\n{program.output()[-3000:]}", file=sys.stderr)
            failed += recipe.failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
