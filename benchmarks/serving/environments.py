"""A Python environment for each peer, in var/peers, made at its first use."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).with_name("peers")
# joblib reads a pipeline only with the versions that wrote it.
SHARED = ("joblib", "lightgbm", "numpy", "pandas", "scikit-learn")


class NotInstalled(Exception):
    """The peer's packages cannot be installed on this machine."""


def python_of(peer: str) -> Path:
    """The Python of the peer's environment.

    Raises:
        NotInstalled: pip failed; the message is its last line.
    """
    folder = ROOT / "var" / "peers" / peer
    python, done = folder / "bin" / "python", folder / "installed.txt"
    requirements = [*PEERS.joinpath(f"{peer}.txt").read_text().split()]
    requirements += [f"{name}=={version(name)}" for name in SHARED]
    if done.exists() and done.read_text().split() == requirements:
        return python
    print(
        f"Installing {requirements[0]} into {folder.relative_to(ROOT)}", file=sys.stderr, flush=True
    )
    venv.create(folder, with_pip=True, clear=True)
    options = ("--quiet", "--disable-pip-version-check", "--only-binary=:all:")
    command = [str(python), "-m", "pip", "install", *options, *requirements]
    installed = subprocess.run(command, capture_output=True, text=True)
    if installed.returncode != 0:
        raise NotInstalled(installed.stderr.strip().splitlines()[-1])
    done.write_text("\n".join(requirements))
    return python


def versions_of(peer: str) -> str:
    """The peer's pinned packages, for the page."""
    return ", ".join(PEERS.joinpath(f"{peer}.txt").read_text().split()).replace("==", " ")
