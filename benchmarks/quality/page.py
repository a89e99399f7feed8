"""Write measured results into docs/quality.md and docs/research/quality.md, with their pictures.

    python -m benchmarks.quality.page var/quality/*.jsonl

The pages are written by hand, except between `<!-- measured: NAME -->` and `<!-- /measured -->`:
only that is replaced, so no prose is lost. The names are those of SECTIONS.
"""

from __future__ import annotations

import argparse
import os
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

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("quality.md", "research/quality.md")  # results, and all of it
PICTURES = "research/quality"
CAPTIONS = {
    "learning-curve": "Accuracy and macro-F1 by the number of labels learned",
    "reliability": "Accuracy by stated confidence, and how often each confidence is stated",
    "precision": "Precision by coverage, the most confident rows first",
}
Records = Sequence[Mapping[str, Any]]
_BLOCK = re.compile(
    r"(?<=<!-- measured: )(?P<name>\w+)(?P<open> -->\n).*?(?=<!-- /measured -->)", re.DOTALL
)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.page",
        description="Write measured results into the pages on quality.",
    )
    parser.add_argument("results", type=Path, nargs="+", help="what --json wrote")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the pages [docs]")
    options = parser.parse_args(argv)
    try:
        for path in write(stored(options.results), options.docs):
            print(path)
    except (Unusable, OSError) as problem:
        print(f"benchmarks.quality.page: {problem}", file=sys.stderr)
        return 2
    return 0


def write(records: Sequence[dict[str, Any]], docs: Path) -> list[Path]:
    """Write *records* into the pages of *docs* and draw the pictures; later records win.

    Returns:
        The files written.

    Raises:
        Unusable: the records do not belong together, or a page names an unknown section.
    """
    joined = merged(records)
    texts = {docs / name: _filled(docs / name, joined, docs / PICTURES) for name in PAGES}
    pictures = draw(joined, docs / PICTURES)
    for page, text in texts.items():
        page.write_text(text, "utf-8")
    return [*texts, *pictures]


def _filled(page: Path, records: Records, pictures: Path) -> str:
    """The text of *page* with its measured sections replaced."""
    prose = page.read_text("utf-8")
    if unknown := {found["name"] for found in _BLOCK.finditer(prose)} - set(SECTIONS):
        raise Unusable(f"{page.name} has a measured part {unknown.pop()!r}: {', '.join(SECTIONS)}")
    link = os.path.relpath(pictures, page.parent)
    return _BLOCK.sub(
        lambda found: "\n".join(
            [found["name"] + found["open"], *SECTIONS[found["name"]](records, link), "", ""]
        ),
        prose,
    )


def _summary(records: Records, _pictures: str) -> Iterator[str]:
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


def _files(records: Records, pictures: str) -> Iterator[str]:
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
            yield from ["", f"![{name}: {CAPTIONS[kind]}]({pictures}/{name}-{kind}.svg)"]


def _learned(record: Mapping[str, Any]) -> str:
    return f"the latest {record['latest']:,} rows" if record["latest"] else "all rows"


def _cost(records: Records, pictures: str) -> Iterator[str]:
    if not any("scale" in record for record in records):
        yield "Not measured."
        return
    yield from scale(records)
    yield ""
    yield f"![Time and peak memory by the number of rows learned]({pictures}/training-cost.svg)"


def _losses(records: Records, _pictures: str) -> Iterator[str]:
    return losses(records)


# Each takes the records, and where the pictures are as seen from the page.
SECTIONS: dict[str, Callable[[Records, str], Iterator[str]]] = {
    "summary": _summary,
    "files": _files,
    "cost": _cost,
    "losses": _losses,
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
