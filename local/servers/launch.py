"""Starts one of the servers for supervisor: `python -m local.servers.launch SPEC.json`.

The file gives command, environment and user; PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(path: Path) -> None:
    spec = json.loads(path.read_text())
    identity = spec["identity"]
    if identity:
        os.setgroups(identity["extra_groups"])
        os.setgid(identity["group"])
        os.setuid(identity["user"])
    os.chdir("/")
    os.execve(spec["argv"][0], spec["argv"], spec["env"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
