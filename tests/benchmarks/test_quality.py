"""The quality benchmark: on made-up files, and its figures on examples worked out by hand."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import __main__ as command
from benchmarks.quality import measure, pictures, synthetic
from benchmarks.quality.compare import compare
from benchmarks.quality.cost import apart, here
from benchmarks.quality.data import COLUMNS, Cases, Unusable, read, split
from benchmarks.quality.few import learning_curve
from benchmarks.quality.methods import METHODS, fitted
from benchmarks.quality.scale import scaling
from benchmarks.quality.simple import Answers, LastLookup, MerchantLookup
from benchmarks.quality.tables import markdown
from shared.features.extract import RawTransaction

DAY = dt.date(2026, 1, 1)


def discard_progress(text: str) -> None:
    """Progress is of no interest."""


def cases(*rows: tuple[int, str, str]) -> Cases:
    """Cases of (days after DAY, merchant, label)."""
    return Cases(
        [
            RawTransaction(merchant=who, amount=-5.0, date=DAY + dt.timedelta(days=day))
            for day, who, _ in rows
        ],
        [label for _, _, label in rows],
        [DAY + dt.timedelta(days=day) for day, _, _ in rows],
    )


def answers(*guesses: tuple[str, float]) -> Answers:
    return Answers([(label,) for label, _ in guesses], np.array([sure for _, sure in guesses]))


def write(path: Path, rows: Sequence[Sequence[object]], columns: Sequence[str] = COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture(scope="module")
def bank_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five hundred made-up rows of five labels, spending positive as a card's statement has it."""
    made = synthetic.generate(500, 5)
    return write(
        tmp_path_factory.mktemp("bank") / "bank.csv",
        [
            (number, day, -(txn.amount or 0), "EUR", txn.merchant, txn.description, label)
            for number, (txn, label, day) in enumerate(
                zip(made.txns, made.labels, made.days, strict=True)
            )
        ],
    )


@pytest.fixture(scope="module")
def record(bank_csv: Path) -> dict[str, Any]:
    """The result with everything in it, all methods in this process."""
    options = command._parser().parse_args(
        [str(bank_csv), "--few", "60,9000", "--scale", "100,all", "--resamples", "20"]
    )
    return command.measure(options, here)


# The whole


def test_every_method_learns_and_is_scored_on_the_same_rows(bank_csv: Path) -> None:
    """What each is handed is the same object's content; what each is judged on, too."""
    handed = []

    def run(function: Any, *args: Any) -> Any:
        handed.append(args[1:])
        return function("frequent", *args[1:])

    data = split(read(bank_csv))
    found = compare(data, list(METHODS), discard_progress, resamples=2, run=run)

    assert len(handed) == len(METHODS)
    assert all(one == (data.train, data.test.txns) for one in handed)
    assert {one["rows"] for one in found["methods"].values()} == {found["scored_rows"]}


def test_every_method_does_better_than_the_most_frequent_label(record: dict[str, Any]) -> None:
    found = record["quality"]["methods"]

    assert list(found) == list(METHODS)
    least = found["frequent"]["accuracy"]
    assert all(one["accuracy"] > least for key, one in found.items() if key != "frequent")
    assert all(0 <= one["calibration_error"] <= 1 for one in found.values())
    assert found["last"]["top3_accuracy"] is None
    assert found["ours"]["top3_accuracy"] >= found["ours"]["accuracy"]


def test_the_learning_curve_has_every_method_and_names_sizes_left_out(
    record: dict[str, Any],
) -> None:
    few = record["few"]

    assert list(few["methods"]) == list(METHODS)
    assert [(point["labels"], point["windows"]) for point in few["methods"]["ours"]["points"]] == [
        (60, 3)
    ]
    assert few["left_out"] == [9000]


def test_scaling_has_the_cost_for_each_number_of_rows(record: dict[str, Any]) -> None:
    small, whole = record["scale"]["points"]

    assert (small["rows"], whole["rows"]) == (100, record["quality"]["whole_train_rows"])
    for point in (small, whole):
        assert min(point["seconds"], point["peak_mb"], point["artifact_bytes"]) > 0


def test_the_markdown_has_a_row_for_each_method_and_says_what_is_scored(
    record: dict[str, Any],
) -> None:
    text = markdown(record)

    assert all(f"| {entry.name} " in text for entry in METHODS.values())
    assert "labels with 20 rows or more in the training rows used" in text
    assert "9,000" in text.rpartition("Too few rows")[2]


def test_pictures_are_the_same_bytes_for_the_same_results(
    record: dict[str, Any], tmp_path: Path
) -> None:
    first = pictures.draw([record], tmp_path / "first")
    again = pictures.draw([json.loads(json.dumps(record))], tmp_path / "again")

    assert [path.name for path in first] == [
        "bank-learning-curve.svg",
        "bank-reliability.svg",
        "bank-precision.svg",
        "training-cost.svg",
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_the_command_measures_in_processes_of_their_own_and_appends_its_result(
    bank_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.jsonl"
    asked = [str(bank_csv), "--methods", "lookup,last", "--latest", "200", "--json", str(results)]

    assert command.main(asked) == 0
    assert command.main([*asked, "--spend-positive", "no"], here) == 0

    first, second = [json.loads(line) for line in results.read_text().splitlines()]
    assert (first["spend_positive"], second["spend_positive"]) == (True, False)
    assert first["quality"]["train_rows"] == 200
    assert first["quality"]["differences"] == []
    assert "the latest 200 rows of" in capsys.readouterr().out


def test_child_process_is_another_process() -> None:
    assert apart(os.getpid) != os.getpid()


# The file


def test_a_file_without_a_column_is_refused_in_one_line_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "bank.csv", [], [name for name in COLUMNS if name != "label"])

    assert command.main([str(path)]) == 2

    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert "bank.csv is not in canonical form: no column 'label'" in output


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((1, "01/02/2026", 5, "EUR", "a", "", "x"), "line 2: Invalid isoformat string"),
        ((1, "2026-01-02", "5,00", "EUR", "a", "", "x"), "line 2: could not convert"),
        ((1, "2026-01-02", 5, "EUR", "a", "", ""), "no labelled rows"),
    ],
    ids=["date", "amount", "no label"],
)
def test_a_row_that_is_not_canonical_is_refused(
    tmp_path: Path, row: tuple[object, ...], reason: str
) -> None:
    with pytest.raises(Unusable, match=reason):
        read(write(tmp_path / "bank.csv", [row]))


def test_a_file_with_nothing_to_score_or_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "bank.csv", [(1, "2026-01-02", 5, "EUR", "a", "", "x")])

    assert command.main([str(path)]) == 2
    assert command.main([str(tmp_path / "other.csv")]) == 2

    first, second = capsys.readouterr().err.splitlines()
    assert "nothing to score" in first
    assert "other.csv cannot be read" in second


@pytest.mark.parametrize(("asked", "sign"), [("auto", -1), ("yes", -1), ("no", 1)])
def test_money_out_is_negative_whatever_the_file_has(tmp_path: Path, asked: Any, sign: int) -> None:
    """Two of the three amounts are positive, so that is what spending is; the rows get sorted."""
    plain = write(
        tmp_path / "bank.csv",
        [
            (1, "2026-01-03", 5, "EUR", "a", "", "x"),
            (2, "2026-01-02", -7, "EUR", "b", "", "y"),
            (3, "2026-01-03", 9, "EUR", "c", "", "z"),
        ],
    )
    packed = tmp_path / "bank.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + plain.read_bytes()))

    found = read(plain, asked)

    assert found == read(packed, asked)
    assert [txn.amount for txn in found.txns] == [-7 * sign, 5 * sign, 9 * sign]
    assert found.labels == ["y", "x", "z"]


def test_the_cut_is_between_days_and_rare_labels_are_not_scored() -> None:
    """Row 80 of 100 is on day 1, so all of it is judged. Before it, fuel has 20 rows, gifts 19."""
    early = (
        [(0, "bean", "coffee")] * 31 + [(0, "gallery", "gifts")] * 19 + [(0, "pump", "fuel")] * 20
    )
    late = [(1, "bean", "coffee")] * 10 + [(1, "pump 2", "fuel")] * 10 + [(1, "x", "gifts")] * 10

    data = split(cases(*early, *late))

    assert (data.cut_day, data.whole_train_rows, data.test_rows) == (DAY + dt.timedelta(1), 70, 30)
    assert data.test.labels == ["coffee"] * 10 + ["fuel"] * 10
    assert data.seen.tolist() == [True] * 10 + [False] * 10
    assert data.scored.all()


def test_with_the_latest_rows_only_labels_frequent_among_these_are_scored() -> None:
    early = [(0, "bean", "coffee")] * 40 + [(0, "pump", "fuel")] * 40
    late = [(1, "bean", "coffee")] * 10 + [(1, "pump", "fuel")] * 10

    data = split(cases(*early, *late), latest=50)

    assert (len(data.train), data.whole_train_rows) == (50, 80)
    assert data.scored.tolist() == [False] * 10 + [True] * 10


def test_only_the_most_frequent_labels_can_be_kept() -> None:
    found = cases((0, "a", "x"), (0, "b", "y"), (1, "c", "x")).with_top_labels(1)

    assert (found.labels, [txn.merchant for txn in found.txns]) == (["x", "x"], ["a", "c"])


# The figures


def test_scores_of_four_rows_are_as_computed_by_hand() -> None:
    """The three surest are right, the last is not. ECE: (3 x |.9 - 1| + |.3 - 0|) / 4."""
    predicted = answers(("a", 0.9), ("a", 0.9), ("b", 0.9), ("b", 0.3))
    seen = np.array([True, True, False, False])

    found = measure.figures(["a", "a", "b", "a"], predicted, seen)

    assert found["accuracy"] == 0.75
    assert found["f1_macro"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert (found["accuracy_seen"], found["accuracy_unseen"]) == (1.0, 0.5)
    assert found["calibration_error"] == pytest.approx(0.15)
    assert found["coverage_at_95"] == 0.75
    assert found["top3_accuracy"] is None


def test_coverage_may_dip_below_the_precision_and_come_back() -> None:
    """The surest is wrong, then nineteen are right: only all twenty reach 95%."""
    predicted = answers(("b", 0.9), *[("a", 0.8 - index / 100) for index in range(19)])

    found = measure.figures(["a"] * 20, predicted, np.ones(20, dtype=np.bool_))

    assert found["coverage_at_95"] == 1.0


def test_the_bootstrap_finds_no_difference_between_equals() -> None:
    truth, guess = [0, 1, 0, 1], [0, 0, 0, 1]

    found = measure.bootstrap(truth, guess, guess, range(4), resamples=50)

    nothing = {"difference": 0.0, "low": 0.0, "high": 0.0}
    assert found == {"accuracy": nothing, "f1_macro": nothing}


def test_the_bootstrap_of_one_that_is_always_right_and_one_that_is_half_the_time() -> None:
    """A hundred rows, each drawn by itself: a standard error of .05, so about .4 to .6."""
    truth, wrong = [0] * 100, [0, 1] * 50

    found = measure.bootstrap(truth, truth, wrong, range(100))["accuracy"]

    assert found["difference"] == 0.5
    assert found["low"] == pytest.approx(0.4, abs=0.03)
    assert found["high"] == pytest.approx(0.6, abs=0.03)
    assert found == measure.bootstrap(truth, truth, wrong, range(100))["accuracy"]


def test_rows_of_one_merchant_are_drawn_together() -> None:
    """All rows are of two merchants, one always right: the difference may be anything to 1."""
    truth, wrong = [0] * 100, [0] * 50 + [1] * 50

    found = measure.bootstrap(truth, truth, wrong, ["one"] * 50 + ["two"] * 50)["accuracy"]

    assert (found["difference"], found["low"], found["high"]) == (0.5, 0.0, 1.0)


# The methods


def test_lookup_baselines_fall_back_on_the_most_frequent_label() -> None:
    known = cases((0, "m", "x"), (0, "m", "x"), (1, "m", "y"), (1, "n", "y"), (2, "o", "y"))
    asked = [RawTransaction(merchant="m"), RawTransaction(merchant="new")]
    most, last = MerchantLookup(), LastLookup()

    most.fit(known.txns, known.labels)
    last.fit(known.txns, known.labels)

    assert most.answer(asked).ranked == [("x", "y"), ("y", "x")]
    assert most.answer(asked).confidence.tolist() == [2 / 3, 3 / 5]
    assert last.answer(asked).labels == ["y", "y"]
    assert last.answer(asked).confidence.tolist() == [1 / 3, 3 / 5]


@pytest.mark.parametrize("key", METHODS)
def test_every_method_works_with_one_label_and_with_two(key: str) -> None:
    for labels in (["x"] * 60, ["x", "y"] * 30):
        known = cases(*[(day, f"shop {label}", label) for day, label in enumerate(labels)])

        found = fitted(key, known.txns, known.labels).answer(known.txns[:2])

        assert set(found.labels) <= set(labels)
        assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


# Made-up rows


def test_generated_rows_are_reproducible_and_as_many_as_asked_for() -> None:
    found = synthetic.generate(2000, 30)

    assert found == synthetic.generate(2000, 30)
    assert found != synthetic.generate(2000, 30, seed=1)
    assert (len(found), len(set(found.labels))) == (2000, 30)
    assert list(found.days) == sorted(found.days)
    assert found.days[-1] - found.days[0] > dt.timedelta(days=1000)


def test_a_learning_curve_without_any_window_is_empty_rather_than_an_error() -> None:
    few = learning_curve(
        cases((0, "a", "x"), (1, "b", "x")), [100], ["lookup"], discard_progress, here
    )

    assert (few["methods"], few["left_out"]) == ({}, [100])


def test_scaling_learns_no_more_rows_than_there_are() -> None:
    found = scaling(synthetic.generate(100, 3), [None, 5000, 50], discard_progress, here)

    assert [point["rows"] for point in found["points"]] == [50, 80]
