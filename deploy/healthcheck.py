"""Is the process of this container well? `python -m deploy.healthcheck web`, and 0 means yes.

web             answers /healthz
flower PORT     answers /healthcheck
worker QUEUE    the worker of this host that is named for the queue answers through the broker
beat FILE       the schedule was written lately
"""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from pathlib import Path

TIMEOUT_S = 4.0
BEAT_WRITES_S = 180  # how often Celery's beat writes its schedule


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def consumes(queue: str) -> bool:
    """Whether this host's worker for *queue* answers a ping that goes through the broker."""
    from celery.utils.nodenames import gethostname  # slow, and only workers need it

    from shared.jobs.broker import BROKER_ERRORS, celery

    name = f"{queue}@{gethostname()}"
    try:
        return bool(celery.control.ping(destination=[name], timeout=TIMEOUT_S))
    except BROKER_ERRORS:
        return False


def written_lately(schedule: Path) -> bool:
    """Whether beat has written its schedule; the name's ending depends on the kind of database."""
    files = list(schedule.parent.glob(f"{schedule.name}*"))
    return any(time.time() - file.stat().st_mtime < 3 * BEAT_WRITES_S for file in files)


def main(argv: list[str]) -> int:
    match argv:
        case ["web"]:
            well = answers(f"http://127.0.0.1:{os.environ.get('WEB_PORT', '8000')}/healthz")
        case ["flower", port]:
            well = answers(f"http://127.0.0.1:{port}/healthcheck")
        case ["worker", queue]:
            well = consumes(queue)
        case ["beat", schedule]:
            well = written_lately(Path(schedule))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
