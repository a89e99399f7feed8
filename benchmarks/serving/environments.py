"""An environment of its own for each peer, in var/peers, made the first time it is asked for."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).with_name("peers")
# The pipeline is read by joblib, which wants the versions that wrote it.
SHARED = ("joblib", "lightgbm", "numpy", "pandas", "scikit-learn")


class NotInstalled(Exception):
    """The peer's packages cannot be had here."""


def python_of(peer: str) -> Path:
    """The Python of the peer's environment.

    Raises:
        NotInstalled: and why.
    """
    folder = ROOT / "var" / "peers" / peer
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = [*PEERS.joinpath(f"{peer}.txt").read_text().split()]
    wanted += [f"{name}=={version(name)}" for name in SHARED]
    if done.exists() and done.read_text().split() == wanted:
        return python
    print(f"Installing {wanted[0]} into {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True, clear=True)
    options = ("--quiet", "--disable-pip-version-check", "--only-binary=:all:")
    command = [str(python), "-m", "pip", "install", *options, *wanted]
    installed = subprocess.run(command, capture_output=True, text=True)
    if installed.returncode != 0:
        raise NotInstalled(installed.stderr.strip().splitlines()[-1])
    done.write_text("\n".join(wanted))
    return python


def versions_of(peer: str) -> str:
    """What is measured, as it is told."""
    return ", ".join(PEERS.joinpath(f"{peer}.txt").read_text().split()).replace("==", " ")
