"""Writes measured results into docs/quality.md, and their pictures beside it.

    python -m benchmarks.quality.page var/quality/*.jsonl

The page is written by hand but for what stands between `<!-- measured: NAME -->` and
`<!-- /measured -->`: only that is replaced, so no prose is lost. The names are those of SECTIONS.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.data import Unusable
from benchmarks.quality.losses import losses
from benchmarks.quality.merge import merged, stored
from benchmarks.quality.methods import OURS
from benchmarks.quality.pictures import draw
from benchmarks.quality.tables import (
    NOTES,
    about,
    differences,
    few,
    interval,
    quality,
    scale,
    share,
    table,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quality.md"
PICTURES = "quality"  # the folder beside the page
CAPTIONS = {
    "learning-curve": "Accuracy and macro-F1 by the number of labels learned",
    "reliability": "What is right of what is stated, and how often it is stated",
    "precision": "How much is right of the surest rows",
}
Records = Sequence[Mapping[str, Any]]
_BLOCK = re.compile(
    r"(?<=<!-- measured: )(?P<name>\w+)(?P<open> -->\n).*?(?=<!-- /measured -->)", re.DOTALL
)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.page",
        description="Write measured results into the page on quality.",
    )
    parser.add_argument("results", type=Path, nargs="+", help="what --json wrote")
    parser.add_argument("--page", type=Path, default=PAGE, help="[docs/quality.md]")
    options = parser.parse_args(argv)
    try:
        for path in write(stored(options.results), options.page):
            print(path)
    except (Unusable, OSError) as problem:
        print(f"benchmarks.quality.page: {problem}", file=sys.stderr)
        return 2
    return 0


def write(records: Sequence[dict[str, Any]], page: Path) -> list[Path]:
    """Write what *records* have into *page*, and the pictures; of each method the latest counts.

    Returns:
        The files written.

    Raises:
        Unusable: the records do not belong together, or the page wants what there is not.
    """
    joined = merged(records)
    prose = page.read_text("utf-8")
    if unknown := {found["name"] for found in _BLOCK.finditer(prose)} - set(SECTIONS):
        raise Unusable(f"{page.name} has a measured part {unknown.pop()!r}: {', '.join(SECTIONS)}")
    text = _BLOCK.sub(
        lambda found: "\n".join(
            [found["name"] + found["open"], *SECTIONS[found["name"]](joined), "", ""]
        ),
        prose,
    )
    pictures = draw(joined, page.parent / PICTURES)
    page.write_text(text, "utf-8")
    return [page, *pictures]


def _summary(records: Records) -> Iterator[str]:
    """Ours and the best baseline of each file and number of rows learned, a line each."""
    rows = []
    for record in records:
        found = record.get("quality", {"differences": []})
        best = {metric: one for one in found["differences"] for metric in one["best_by"]}
        if not best:
            continue
        row = [record["data"], f"{found['train_rows']:,}"]
        for metric, one in best.items():
            theirs = found["methods"][one["against"]]
            row += [
                f"**{share(found['methods'][OURS][metric])}**",
                f"{share(theirs[metric])} ({theirs['name']})",
                interval(one["merchants"][metric]),
            ]
        rows.append(row)
    head = ["accuracy", "best baseline", "difference, 95%"]
    yield from table(["data", "learned", *head, "macro-F1", *head[1:]], rows)


def _files(records: Records) -> Iterator[str]:
    """All tables and pictures of each file."""
    for note in NOTES:
        yield f"- {note}"
    names = dict.fromkeys(
        record["data"] for record in records if {"quality", "few"} & record.keys()
    )
    for name in names:
        some = [record for record in records if record["data"] == name]
        yield from ["", f"### {name}", "", about(some[0])]
        for record in some:
            if "quality" in record:
                yield from ["", f"#### {name}: {_learned(record)}", ""]
                yield from quality(record["quality"])
                yield ""
                yield from differences(record["quality"])
        for record in some:
            if "few" in record:
                yield from ["", f"#### {name}: few labels", ""]
                yield from few(record["few"])
        has = ["reliability", "precision"] if any("quality" in record for record in some) else []
        if any(record.get("few", {}).get("methods") for record in some):
            has.insert(0, "learning-curve")
        for kind in has:
            yield from ["", f"![{name}: {CAPTIONS[kind]}]({PICTURES}/{name}-{kind}.svg)"]


def _learned(record: Mapping[str, Any]) -> str:
    return f"the latest {record['latest']:,} rows" if record["latest"] else "all rows"


def _cost(records: Records) -> Iterator[str]:
    if not any("scale" in record for record in records):
        yield "Not measured."
        return
    yield from scale(records)
    yield ""
    yield f"![Time and peak memory by the number of rows learned]({PICTURES}/training-cost.svg)"


SECTIONS: dict[str, Callable[[Records], Iterator[str]]] = {
    "summary": _summary,
    "files": _files,
    "cost": _cost,
    "losses": losses,
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
