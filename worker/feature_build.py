"""Builds the features of stored transactions that are new or changed.

python -m worker.feature_build --days 30
python -m worker.feature_build --all
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from shared.db.engine import make_engine
from shared.settings import command_settings
from worker import command_line
from worker.features.build import build_pending
from worker.features.pending import last_days


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.feature_build", description=__doc__)
    window = parser.add_mutually_exclusive_group()
    window.add_argument("--days", type=int, default=180, help="of the last N days (default 180)")
    window.add_argument("--all", action="store_true", help="of all transactions")
    args = parser.parse_args(argv)
    if args.days < 0:
        parser.error("--days must be a whole number from 0")

    def command() -> str:
        report = build_pending(
            make_engine(command_settings().database_url),
            last_days(None if args.all else args.days),
            progress=lambda done: print(f"{done:,} rows built", file=sys.stderr),
        )
        if not report.built and not report.removed:
            return f"Nothing to do: {report.unchanged:,} rows are up to date."
        return (
            f"{report.built:,} rows built, {report.unchanged:,} unchanged, "
            f"{report.removed:,} removed in {report.elapsed_seconds:.1f} s"
        )

    return command_line.run("feature_build", command, outcome="rows built so far stay")


if __name__ == "__main__":
    command_line.start(main)
