"""Makes `.venv` from a lock file with plain pip: `python3 local/setup/venv.py local|dev`.

Run by whatever Python the machine has, so with the standard library only. A second call with the
same lock is instant. An environment that was moved, or whose Python has gone, is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
INCLUDES = {"local": ["local"], "dev": ["dev", "local"]}  # the dev lock holds all of the local one
PROGRESS_EVERY_S = 5.0
NO_INPUT = {"PIP_USER": "0", "PIP_ROOT_USER_ACTION": "ignore", "PIP_REQUIRE_VIRTUALENV": "0"}


def main(lock: str) -> int:
    digests = {name: digest(name) for name in INCLUDES[lock]}
    installed = read_stamp().get("locks", {})
    usable = is_usable()
    # PYTHON is in the environment only where somebody has named one.
    if usable and os.environ.get("PYTHON") and not same_release():
        show(f"Keeping .venv with its own Python; rm -r .venv makes it anew with {version()}.")
    if usable and all(installed.get(name) == digests[name] for name in digests):
        return 0
    if not usable:
        if VENV.exists():
            show("Removing .venv: it was moved, or its Python is gone.")
            shutil.rmtree(VENV)
        show(f"Making .venv with Python {version()}.")
        make_venv()
    pip = find_pip()
    if pip is None:
        return fail(
            "this Python can make no environment with pip in it; "
            "on Debian and Ubuntu: apt install python3-venv"
        )
    STAMP.unlink(missing_ok=True)
    show(f"Installing requirements/{lock}.lock into .venv; this takes a minute or two.")
    if not install(pip, ROOT / "requirements" / f"{lock}.lock"):
        return 1
    STAMP.write_text(json.dumps({"path": str(VENV), "locks": {**installed, **digests}}))
    return 0


def show(text: str) -> None:
    print(text, flush=True)


def fail(message: str) -> int:
    print(f"local/setup/venv.py: {message}", file=sys.stderr)
    return 1


def version() -> str:
    return sys.version.split()[0]


def digest(lock: str) -> str:
    return hashlib.sha256((ROOT / "requirements" / f"{lock}.lock").read_bytes()).hexdigest()


def read_stamp() -> dict[str, Any]:
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def is_usable() -> bool:
    """Return whether the environment was made at this path and its Python runs."""
    if read_stamp().get("path", str(VENV)) != str(VENV):
        return False
    probe = "import sys; print(sys.prefix); sys.exit(sys.version_info < (3, 11))"
    try:
        done = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == str(VENV)


def same_release() -> bool:
    """Return whether the environment's Python has the release of this one, such as 3.12."""
    release = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return (VENV / "lib" / release).is_dir()


def make_venv() -> None:
    done = threading.Event()
    threading.Thread(target=show_time, args=(done,), daemon=True).start()
    try:
        if succeeds(sys.executable, "-m", "venv", VENV):
            return
    finally:
        done.set()
    # Debian keeps ensurepip in a package of its own; a pip outside will do as well.
    shutil.rmtree(VENV, ignore_errors=True)
    succeeds(sys.executable, "-m", "venv", "--without-pip", VENV)


def show_time(done: threading.Event) -> None:
    began = time.monotonic()
    while not done.wait(PROGRESS_EVERY_S):
        show(f"  {time.monotonic() - began:3.0f} s  making it")


def find_pip() -> list[str] | None:
    """Return the command of a pip that installs into the environment."""
    inside = [str(PYTHON), "-m", "pip"]
    outside = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    return next((pip for pip in (inside, outside) if succeeds(*pip, "--version")), None)


def succeeds(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def install(pip: list[str], lock: Path) -> bool:
    """Run pip and show its progress every few seconds; show its output only if it fails."""
    total = sum("==" in line for line in lock.read_text().splitlines())
    running = subprocess.Popen(
        [
            *(*pip, "install", "--require-hashes", "--only-binary=:all:", "-r", str(lock)),
            *("--disable-pip-version-check", "--no-input", "--progress-bar=off"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **NO_INPUT},
    )
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=read, args=(running.stdout, lines), daemon=True).start()
    output: list[str] = []
    began = shown = time.monotonic()
    collected, doing = 0, "starting pip"
    while True:
        try:
            line = lines.get(timeout=max(0.0, shown + PROGRESS_EVERY_S - time.monotonic()))
        except queue.Empty:
            shown = time.monotonic()
            show(f"  {shown - began:3.0f} s  {doing}")
            continue
        if line is None:
            break
        output.append(line)
        if line.startswith(("Collecting ", "Requirement already satisfied")):
            collected += 1
            doing = f"{min(collected, total)} of {total} packages at hand"
        elif line.startswith("Installing "):
            doing = f"unpacking {line.count(',') + 1} packages"
    if running.wait() == 0:
        show(f"  {time.monotonic() - began:3.0f} s  done")
        return True
    print("\n".join(output[-30:]), file=sys.stderr)
    fail("pip failed; these are its last lines")
    return False


def read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line.rstrip())
    lines.put(None)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in INCLUDES:
        raise SystemExit("usage: python3 local/setup/venv.py local|dev")
    raise SystemExit(main(sys.argv[1]))
