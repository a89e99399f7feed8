"""Becomes one of the servers: `python -m local.servers.launch ORDER.json`, for supervisor.

The environment is exactly what the order says, and so is the user; PostgreSQL refuses to be root.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(order: Path) -> None:
    spec = json.loads(order.read_text())
    identity = spec["identity"]
    if identity:
        os.setgroups(identity["extra_groups"])
        os.setgid(identity["group"])
        os.setuid(identity["user"])
    os.chdir("/")
    os.execve(spec["argv"][0], spec["argv"], spec["env"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
