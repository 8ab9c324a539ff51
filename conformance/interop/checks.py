"""What the Python scripts share: checks with a deadline."""

import asyncio
import sys
import time

_counts = {"passed": 0, "failed": 0}


async def check(name, body, limit=20):
    """Run one check; it fails when it raises, or takes longer than `limit` seconds."""
    try:
        await asyncio.wait_for(body(), limit)
    except Exception as error:
        _counts["failed"] += 1
        what = f"not done after {limit} s" if isinstance(error, asyncio.TimeoutError) else f"{type(error).__name__} {error}"
        print(f"not ok {name}: {what}".replace("\n", " "), flush=True)
    else:
        _counts["passed"] += 1
        print(f"ok {name}", flush=True)


def equal(actual, expected):
    if actual != expected:
        raise AssertionError(f"{_short(actual)}, not {_short(expected)}")


def ensure(condition, message):
    if not condition:
        raise AssertionError(message)


def _short(value):
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}.. ({len(value)})"


def main(body):
    """Run the script; its success is that something was checked and nothing failed."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} ws://HOST:PORT/")
    begin = time.monotonic()
    asyncio.run(body(sys.argv[1]))
    print(f"# {_counts['passed']} passed, {_counts['failed']} failed in {time.monotonic() - begin:.1f} s")
    sys.exit(0 if _counts["failed"] == 0 and _counts["passed"] > 0 else 1)
