"""The pages on quality: measured sections are replaced, prose stays."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import everything, page, synthetic
from benchmarks.quality.compare import compare
from benchmarks.quality.cost import here
from benchmarks.quality.data import Unusable, split
from benchmarks.quality.few import learning_curve
from benchmarks.quality.losses import losses
from benchmarks.quality.merge import merged
from benchmarks.quality.methods import METHODS

Record = dict[str, Any]


def discard_progress(text: str) -> None:
    """Progress is of no interest."""


def measured(*methods: str, few: int = 60) -> Record:
    """What *methods* do on the same five hundred made-up rows."""
    cases = synthetic.generate(500, 5)
    record = {
        "data": "bank",
        "rows": len(cases),
        "labels": 5,
        "spend_positive": None,
        "latest": None,
        "quality": compare(split(cases), methods, discard_progress, run=here),
        "few": learning_curve(cases, [few], methods, discard_progress, here),
    }
    found: Record = json.loads(json.dumps(record))
    return found


@pytest.fixture(scope="module")
def ours() -> Record:
    return measured("ours")


def timeless(record: Record) -> Record:
    """Without what differs from one run to the next."""
    copy: Record = json.loads(json.dumps(record))
    for one in copy["quality"]["methods"].values():
        del one["fit"], one["predict_rows_s"]
    return copy


# Measured at different times


def test_methods_measured_separately_merge_to_the_same_result(ours: Record) -> None:
    """The paired differences too, as each answer to each row is kept."""
    together = measured("ours", "lookup", "last")

    found = merged([measured("lookup"), ours, measured("last")])

    assert [timeless(one) for one in found] == [timeless(together)]
    assert found[0]["quality"]["differences"]


def test_later_measurement_of_a_method_replaces_the_earlier(ours: Record) -> None:
    later = json.loads(json.dumps(ours))
    later["quality"]["methods"]["ours"]["accuracy"] = 0.125

    (found,) = merged([ours, measured("lookup"), later])

    assert found["quality"]["methods"]["ours"]["accuracy"] == 0.125
    assert list(found["quality"]["methods"]) == ["ours", "lookup"]


@pytest.mark.parametrize("what", ["scored_rows", "train_rows", "truth"])
def test_results_of_different_rows_are_refused(ours: Record, what: str) -> None:
    other = measured("lookup")
    other["quality"][what] = None

    with pytest.raises(Unusable, match=f"not measured on the same rows, {what} differs"):
        merged([ours, other])


def test_learning_curves_of_different_sizes_are_refused(ours: Record) -> None:
    with pytest.raises(Unusable, match="few: the methods were not measured on the same rows"):
        merged([ours, measured("lookup", few=80)])


# The page


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """The real pages, in a folder of the test's own."""
    folder = tmp_path / "docs"
    (folder / "research").mkdir(parents=True)
    for name in page.PAGES:
        (folder / name).write_text((page.DOCS / name).read_text("utf-8"), "utf-8")
    return folder


def test_writing_the_pages_replaces_measured_sections_only(ours: Record, docs: Path) -> None:
    """And the same results write the same pages again."""
    page.write([measured("lookup"), ours], docs)
    once = texts(docs)
    page.write([measured("lookup"), ours], docs)

    assert [unmeasured_sections(text) for text in once] == [
        unmeasured_sections(text) for text in texts(page.DOCS)
    ]
    assert [*map(without_costs, texts(docs))] == [*map(without_costs, once)]
    assert all(f"<!-- measured: {name} -->" in "".join(once) for name in page.SECTIONS)
    assert "### bank" in "".join(once)


def test_measured_pictures_exist_are_small_and_have_a_white_background(
    ours: Record, docs: Path
) -> None:
    page.write([ours, measured("lookup")], docs)

    research = docs / "research/quality.md"
    links = re.findall(r"\]\((\S+\.svg)\)", research.read_text("utf-8"))
    pictures = [research.parent / link for link in links]
    assert len(pictures) == 3
    assert all(picture.stat().st_size < 100_000 for picture in pictures)
    assert all("fill: #ffffff" in picture.read_text("utf-8") for picture in pictures)


def test_a_page_with_an_unknown_section_is_left_alone(
    ours: Record, docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, results = docs / page.PAGES[-1], tmp_path / "results.jsonl"
    wrong.write_text("<!-- measured: sumary -->\nold\n<!-- /measured -->\n", "utf-8")
    results.write_text(json.dumps(ours) + "\n", "utf-8")
    before = texts(docs)

    assert page.main([str(results), "--docs", str(docs)]) == 2

    assert "'sumary'" in capsys.readouterr().err
    assert texts(docs) == before


def test_page_says_where_a_baseline_is_ahead() -> None:
    """Of accuracy more is better, of the calibration error less; 0.8004 beside 0.8 is a tie."""
    figures = {
        "ours": {"accuracy": 0.8, "f1_macro": 0.8, "calibration_error": 0.02},
        "lookup": {"accuracy": 0.9, "f1_macro": 0.8004, "calibration_error": 0.01},
    }
    record = {
        "data": "bank",
        "quality": {"train_rows": 4000, "methods": figures, "differences": []},
    }

    rows = [line for line in losses([record]) if line.startswith("| bank")]

    assert [[cell.strip() for cell in row.split("|")[2:-1]] for row in rows] == [
        ["4,000", "accuracy", "0.800", "0.900", "merchant lookup"],
        ["4,000", "ECE", "0.020", "0.010", "merchant lookup"],
    ]


# All of it in one go


def test_measured_baselines_are_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(everything, "LATEST", 300)
    monkeypatch.setattr(everything, "read", lambda file: synthetic.generate(500, 5))
    (tmp_path / "bank.csv").touch()
    asked: list[list[str]] = []

    def measure(argv: Sequence[str]) -> int:
        asked.append(list(argv))
        with Path(argv[-1]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(answer(list(argv))) + "\n")
        return 0

    def methods_asked(*options: str) -> list[str]:
        asked.clear()
        command = [str(tmp_path), "--results", str(tmp_path / "results"), *options]
        assert everything.main(command, measure) == 0
        return [argv[argv.index("--methods") + 1] for argv in asked if "--methods" in argv]

    assert methods_asked() == [*METHODS, *METHODS]  # of all rows, and of the latest
    assert sum("--scale" in argv for argv in asked) == 1 + len(everything.MADE_UP)
    assert methods_asked() == ["ours", "ours"]
    assert sum("--scale" in argv for argv in asked) == 1 + len(everything.MADE_UP)
    assert methods_asked("--again", "lookup", "--keep-cost") == ["lookup", "lookup"]
    assert not any("--scale" in argv for argv in asked)


def answer(argv: list[str]) -> Record:
    """What the command would have written, as far as it is looked at."""
    name = f"synthetic-{argv[argv.index('--categories') + 1]}" if "--synthetic" in argv else "bank"
    record: Record = {"data": name, "latest": 300 if "--latest" in argv else None}
    if "--methods" in argv:
        return {**record, "quality": {"methods": {argv[argv.index("--methods") + 1]: {}}}}
    return {**record, "scale": {"points": []}}


def texts(docs: Path) -> list[str]:
    return [(docs / name).read_text("utf-8") for name in page.PAGES]


def unmeasured_sections(text: str) -> list[str]:
    return re.split(r"(?<=-->\n)[^<]*(?=<!-- /measured)", text)


def without_costs(text: str) -> list[str]:
    """The lines but those of the main tables, which end with seconds and megabytes."""
    return [line for line in text.splitlines() if not line.endswith(" |")]
