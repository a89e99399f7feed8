"""A result as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.quality.linear import FOREST_ROUNDS, FOREST_ROWS

METRICS = {"accuracy": "accuracy", "f1_macro": "macro-F1"}
NOTES = (
    "One thread. Learning and answering start from raw transactions; each method has a process of "
    "its own, whose peak holds interpreter, libraries and rows.",
    "Confidence: of the lookups the label's share of the merchant's rows, of the linear SVMs the "
    "softmax of the scores at temperature 1, never fitted: their ECE is that of raw scores. ECE "
    "has 15 bins of equal width. Cov@95: the largest share of rows, the surest first, of which 95% "
    "are right.",
    f"LightGBM multiclass grows labels x {FOREST_ROUNDS} trees, so it learns from the latest "
    f"{FOREST_ROWS:,} rows at most.",
)


def markdown(record: Mapping[str, Any]) -> str:
    """All that *record* has, see `benchmarks.quality.__main__`."""
    lines = [f"## {record['data']}", "", _about(record), ""]
    if "quality" in record:
        lines += [*_quality(record["quality"]), ""]
    if "few" in record:
        lines += [*_few(record["few"]), ""]
    if "scale" in record:
        lines += [*_scale(record["scale"]), ""]
    return "\n".join(lines)


def _about(record: Mapping[str, Any]) -> str:
    sign = {True: "positive", False: "negative"}.get(record["spend_positive"])
    spending = f"; spending is {sign} in the file" if sign else ""
    return f"{record['rows']:,} rows, {record['labels']:,} labels{spending}."


def _quality(found: Mapping[str, Any]) -> Iterator[str]:
    learned = f"{found['train_rows']:,} rows"
    if found["train_rows"] < found["whole_train_rows"]:
        learned = f"the latest {learned} of {found['whole_train_rows']:,}"
    yield (
        f"Learned: {learned} before {found['cut_day']}. Scored: {found['scored_rows']:,} of the "
        f"{found['test_rows']:,} rows from then on, {found['scored_labels']:,} labels; "
        f"{found['unseen_rows']:,} rows have a merchant not learned. A row is scored if its label "
        f"is one of the {found['scored']}. The same rows for all methods."
    )
    yield ""
    wide = found["wide_rows"] != found["scored_rows"]
    head = ["method", "accuracy", "macro-F1", "seen", "unseen", "top 3", "ECE", "cov@95"]
    if wide:
        head += ["accuracy, wide", "macro-F1, wide"]
    rows = []
    for one in found["methods"].values():
        row = [
            one["name"],
            _share(one["accuracy"]),
            _share(one["f1_macro"]),
            _share(one["accuracy_seen"]),
            _share(one["accuracy_unseen"]),
            _share(one["top3_accuracy"]),
            _share(one["calibration_error"]),
            _share(one["coverage_at_95"]),
        ]
        if wide:
            row += [_share(one["wide"]["accuracy"]), _share(one["wide"]["f1_macro"])]
        fit = one["fit"]
        rows.append(
            [
                *row,
                f"{fit['seconds']:.1f}",
                f"{float(format(one['predict_rows_s'], '.2g')):,.0f}",
                f"{fit['peak_mb']:,.0f}",
            ]
        )
    yield from _table([*head, "fit s", "predict rows/s", "fit peak MB"], rows)
    yield ""
    if wide:
        yield (
            f"- Wide: the {found['wide_rows']:,} rows, {found['wide_labels']:,} labels, that would "
            "be scored after learning all rows before the cut."
        )
    for note in NOTES:
        yield f"- {note}"
    yield from _differences(found)


def _differences(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["differences"]:
        return
    yield ""
    yield "Ours less the best baseline, with 95% intervals of a paired bootstrap:"
    yield ""
    rows = []
    for one in found["differences"]:
        name = found["methods"][one["against"]]["name"]
        best = " and ".join(METRICS[metric] for metric in one["best_by"])
        for metric, shown in METRICS.items():
            rows.append(
                [
                    f"{name} (best by {best})",
                    shown,
                    f"{one['rows'][metric]['difference']:+.4f}",
                    _interval(one["rows"][metric]),
                    _interval(one["merchants"][metric]),
                ]
            )
    yield from _table(["against", "figure", "difference", "rows drawn", "merchants drawn"], rows)
    yield ""
    yield (
        f"- {found['differences'][0]['resamples']:,} resamples. Chance does not explain a "
        "difference whose interval is without 0. Rows of one merchant stand and fall together, so "
        "drawing merchants is the stricter test."
    )


def _few(found: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Few labels: the rows just before {len(found['cuts'])} cuts "
        f"({', '.join(f'{cut:.0%}' for cut in found['cuts'])} of the rows), judged on the "
        f"{found['test_rows_at_most']:,} rows after each; means. Scored: {found['scored']} "
        f"({found['scored_labels']:,}), whether or not the few rows have them."
    )
    yield ""
    rows = [
        [
            f"{point['labels']:,}",
            one["name"],
            _share(point["accuracy"]),
            _share(point["f1_macro"]),
            _share(point["accuracy_unseen"]),
            _share(point["calibration_error"]),
            f"{point['windows']}",
        ]
        for size in _sizes(found)
        for one in found["methods"].values()
        for point in one["points"]
        if point["labels"] == size
    ]
    yield from _table(
        ["labels", "method", "accuracy", "macro-F1", "unseen", "ECE", "windows"], rows
    )
    if found["left_out"]:
        yield ""
        yield f"- Too few rows before a cut for {', '.join(f'{n:,}' for n in found['left_out'])}."


def _sizes(found: Mapping[str, Any]) -> list[int]:
    return sorted({point["labels"] for one in found["methods"].values() for point in one["points"]})


def _scale(found: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "Cost of learning, ours, from stored features, one thread. Making the features took "
        f"{found['features_us_a_row']:.0f} µs a row before."
    )
    yield ""
    yield from _table(
        ["rows", "labels", "fit s", "CPU s", "peak MB", "artifact MB", "load ms"],
        [
            [
                f"{point['rows']:,}",
                f"{point['labels']:,}",
                f"{point['seconds']:.1f}",
                f"{point['cpu_seconds']:.1f}",
                f"{point['peak_mb']:,.0f}",
                f"{point['artifact_bytes'] / 1e6:.2f}",
                f"{point['load_ms']:.0f}",
            ]
            for point in found["points"]
        ],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """With columns as wide as their widest cell, so that it can be read in a terminal too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    yield _line(head, widths)
    yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    for row in rows:
        yield _line(row, widths)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['low']:+.4f} to {found['high']:+.4f}"
