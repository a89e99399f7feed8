"""Compiles kernel.c where there is a C compiler: `python3 shared/native/build.py`.

It runs on whatever Python the machine has, so it imports the standard library only. A library of
the same source is left as it is.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

SOURCE = Path(__file__).resolve().with_name("kernel.c")
LIBRARY = SOURCE.with_name("libkernel.so")
# No fused multiply-add: scores are then those of NumPy on every processor.
FLAGS = ("-O3", "-std=c11", "-fPIC", "-shared", "-ffp-contract=off", "-Wall")


def source_digest() -> str:
    """SHA-256 of the source; a library carries that of the source it was built from."""
    return sha256(SOURCE.read_bytes()).hexdigest()


def main() -> int:
    digest = source_digest()
    if LIBRARY.exists() and digest.encode() in LIBRARY.read_bytes():
        return 0
    draft = LIBRARY.with_suffix(f".{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC") or "cc")
    command = [*compiler, *FLAGS, f'-DSOURCE="{digest}"', str(SOURCE), "-o", str(draft), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return give_up(f"There is no C compiler ({compiler[0]})")
    if done.returncode != 0:
        error = done.stderr.strip()[:300]
        return give_up(f"{compiler[0]} could not compile {SOURCE.name}: {error}")
    draft.replace(LIBRARY)
    return 0


def give_up(reason: str) -> int:
    """Say why there is no library. The service works without one, so nothing fails."""
    LIBRARY.unlink(missing_ok=True)
    print(f"{reason}: predictions give the same answers, and take twice as long.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
