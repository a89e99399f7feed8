"""How good the suggestions are on a labelled file, beside baselines.

    python -m benchmarks.quality bank.csv.gz
    python -m benchmarks.quality bank.csv.gz --methods ours,words --latest 20000
    python -m benchmarks.quality bank.csv.gz --few 100,300,1000 --json results.jsonl --out pictures
    python -m benchmarks.quality --synthetic 1000000 --categories 1000 --scale 100000,all --no-table

The file is canonical: txn_id, date, amount, currency, merchant, description, label. Tables go to
stdout as Markdown, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Before NumPy comes: each method is measured on one thread, in the processes it starts too.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

from benchmarks.quality import synthetic
from benchmarks.quality.compare import compare
from benchmarks.quality.cost import Runner, apart
from benchmarks.quality.data import Cases, Unusable, read, split
from benchmarks.quality.few import learning_curve
from benchmarks.quality.measure import RESAMPLES
from benchmarks.quality.merge import merged, stored
from benchmarks.quality.methods import METHODS
from benchmarks.quality.scale import scaling
from benchmarks.quality.tables import markdown


def main(argv: Sequence[str], run: Runner = apart) -> int:
    options = _parser().parse_args(argv)
    try:
        if options.json:
            options.json.touch()  # now, rather than fail when all is measured
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
        record = measure(options, run)
        print(markdown(record))
        records = [record]
        if options.json:
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            records = stored([options.json])
        if options.out:
            from benchmarks.quality.pictures import draw  # slow to import, and rarely wanted

            for path in draw(merged(records), options.out):
                _tell(f"wrote {path}")
    except (Unusable, OSError) as problem:
        print(f"benchmarks.quality: {problem}", file=sys.stderr)
        return 2
    return 0


def measure(options: argparse.Namespace, run: Runner) -> dict[str, Any]:
    """All figures that *options* ask for, JSON-able.

    Returns:
        `data` (a name), `rows`, `labels`, `spend_positive` (None for made-up rows), `latest`, and
        as asked for `quality`, `few` and `scale`; see compare.py, few.py and scale.py.
    """
    name, cases = _cases(options)
    record: dict[str, Any] = {
        "data": name,
        "rows": len(cases),
        "labels": len(set(cases.labels)),
        "spend_positive": cases.spend_positive,
        "latest": options.latest,
    }
    if options.table:
        record["quality"] = compare(
            split(cases, options.latest),
            options.methods or list(METHODS),
            _tell,
            resamples=options.resamples,
            run=run,
        )
    if options.few:
        keys = options.methods or list(METHODS)
        record["few"] = learning_curve(cases, options.few, keys, _tell, run)
    if options.scale:
        record["scale"] = scaling(cases, options.scale, _tell, run)
    return record


def _cases(options: argparse.Namespace) -> tuple[str, Cases]:
    """The cases to measure, and a name for them."""
    if options.synthetic:
        cases = synthetic.generate(options.synthetic, options.categories, options.seed)
        return f"synthetic-{options.categories}", cases
    cases = read(options.file, options.spend_positive)
    name = options.file.name.removesuffix(".gz").removesuffix(".csv")
    if options.top_labels:
        return f"{name}-top{options.top_labels}", cases.with_top_labels(options.top_labels)
    return name, cases


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="How good the suggestions are on a labelled file, beside baselines.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", type=Path, nargs="?", help="canonical CSV, plain or gzip")
    source.add_argument("--synthetic", type=_count, metavar="N", help="N made-up rows instead")
    parser.add_argument(
        "--categories", type=_count, default=200, metavar="K", help="of the made-up rows [200]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the made-up rows [0]")
    parser.add_argument(
        "--spend-positive",
        choices=("yes", "no", "auto"),
        default="auto",
        help="whether money out is positive in the file [auto: if most amounts are]",
    )
    parser.add_argument(
        "--top-labels", type=_count, metavar="K", help="only rows of the K most frequent labels"
    )
    parser.add_argument(
        "--latest", type=_count, metavar="N", help="learn the latest N training rows only"
    )
    parser.add_argument(
        "--methods", type=methods, metavar="A,B", help=f"some of {','.join(METHODS)}"
    )
    parser.add_argument(
        "--no-table", dest="table", action="store_false", help="only --few and --scale"
    )
    parser.add_argument(
        "--few", type=_counts, metavar="N,N", help="the learning curve at N labels each"
    )
    parser.add_argument(
        "--scale", type=_sizes, metavar="N,all", help="what learning the latest N rows costs"
    )
    parser.add_argument(
        "--resamples", type=_count, default=RESAMPLES, help=f"of the bootstrap [{RESAMPLES}]"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="append the result, a JSON line")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="draw SVG pictures, of all that --json has"
    )
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def _sizes(text: str) -> list[int | None]:
    return [None if part == "all" else _count(part) for part in text.split(",")]


def methods(text: str) -> list[str]:
    keys = text.split(",")
    if unknown := set(keys) - set(METHODS):
        raise argparse.ArgumentTypeError(f"no method {unknown.pop()!r}: {', '.join(METHODS)}")
    return keys


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
