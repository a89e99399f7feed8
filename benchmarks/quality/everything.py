"""Measures all that docs/quality.md shows, for every CSV of a folder.

    python -m benchmarks.quality.everything FOLDER
    python -m benchmarks.quality.everything FOLDER --again ours,hashed-svm --keep-cost

A method that the results have already is measured again only if --again names it, which is ours
unless told otherwise: the baselines take an hour, and stay as they are. (The hashed ones change
with `shared/features/encoder.py`.) Each result is kept as soon as it is there, so a run that was
broken off is continued by starting it once more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.quality import __main__ as quality
from benchmarks.quality.data import Unusable, read, split
from benchmarks.quality.merge import Record, stored
from benchmarks.quality.methods import METHODS, OURS

LATEST = 20_000
FEW = ["--few", "100,300,1000,3000"]
SIZES = "20000,40000,80000"
# Categories, rows (the earliest 80% are learned) and how many of those at a time.
MADE_UP = (
    ("20", "1260000", f"{SIZES},138000,1000000"),
    ("200", "175000", f"{SIZES},138000"),
    ("1000", "26000", "20000"),
)

Measure = Callable[[Sequence[str]], int]


def main(argv: Sequence[str], measure: Measure = quality.main) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.everything",
        description="Measure all that docs/quality.md shows.",
    )
    parser.add_argument("folder", type=Path, help="of canonical CSVs, plain or gzip")
    parser.add_argument("--results", type=Path, default=Path("var/quality"), help="[var/quality]")
    parser.add_argument(
        "--again", type=quality.methods, default=[OURS], metavar="A,B", help="measured anew [ours]"
    )
    parser.add_argument(
        "--keep-cost", action="store_true", help="do not measure anew what learning costs"
    )
    options = parser.parse_args(argv)
    options.results.mkdir(parents=True, exist_ok=True)
    try:
        for results, wanted in _commands(options):
            print(f"\n{' '.join(wanted)}", file=sys.stderr, flush=True)
            if failed := measure([*wanted, "--json", str(results)]):
                return failed
    except Unusable as problem:
        print(f"benchmarks.quality.everything: {problem}", file=sys.stderr)
        return 2
    return 0


def _commands(options: argparse.Namespace) -> Iterator[tuple[Path, list[str]]]:
    """What to ask `python -m benchmarks.quality` for, and where its answer goes."""
    files = sorted([*options.folder.glob("*.csv"), *options.folder.glob("*.csv.gz")])
    if not files:
        raise Unusable(f"there is no CSV in {options.folder}")
    for file in files:
        results = options.results / f"{file.name.removesuffix('.gz').removesuffix('.csv')}.jsonl"
        if split(read(file)).whole_train_rows > LATEST:
            yield from _of_methods(results, options.again, [str(file)], None)
            latest = [str(file), "--latest", str(LATEST), *FEW]
            yield from _of_methods(results, options.again, latest, LATEST)
            if not (options.keep_cost and _has_cost(results, results.stem)):
                yield results, [str(file), "--no-table", "--scale", f"{SIZES},all"]
        else:
            yield from _of_methods(results, options.again, [str(file), *FEW], None)
    results = options.results / "synthetic.jsonl"
    for categories, rows, sizes in MADE_UP:
        cost = ["--synthetic", rows, "--categories", categories]
        if not (options.keep_cost and _has_cost(results, f"synthetic-{categories}")):
            yield results, [*cost, "--no-table", "--scale", sizes]


def _of_methods(
    results: Path, again: Sequence[str], wanted: list[str], latest: int | None
) -> Iterator[tuple[Path, list[str]]]:
    known = {
        method
        for record in _read_records(results)
        if record["latest"] == latest
        for method in record.get("quality", {"methods": {}})["methods"]
    }
    for method in METHODS:
        if method in again or method not in known:
            yield results, [*wanted, "--methods", method]


def _has_cost(results: Path, name: str) -> bool:
    return any("scale" in record and record["data"] == name for record in _read_records(results))


def _read_records(results: Path) -> list[Record]:
    return stored([results]) if results.exists() else []


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
