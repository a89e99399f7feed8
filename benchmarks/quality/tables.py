"""A result as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.quality.linear import FOREST_ROUNDS, FOREST_ROWS

METRICS = {"accuracy": "accuracy", "f1_macro": "macro-F1"}
FEW_TABLES = (
    ("accuracy", "f1_macro", "accuracy / macro-F1"),
    ("accuracy_unseen", "calibration_error", "accuracy, merchants not learned / ECE"),
)
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
    lines = [f"## {record['data']}", "", about(record), ""]
    if "quality" in record:
        lines += [*quality(record["quality"]), "", *(f"- {note}" for note in NOTES), ""]
        lines += [*users(record["quality"]), ""]
        lines += [*differences(record["quality"]), ""]
    if "few" in record:
        lines += [*few(record["few"]), ""]
    if "scale" in record:
        lines += [*scale([record]), ""]
    return "\n".join(lines)


def about(record: Mapping[str, Any]) -> str:
    sign = {True: "positive", False: "negative"}.get(record["spend_positive"])
    spending = f"; spending is {sign} in the file" if sign else ""
    return f"{record['rows']:,} rows, {record['labels']:,} labels{spending}."


def quality(found: Mapping[str, Any]) -> Iterator[str]:
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
            share(one["accuracy"]),
            share(one["f1_macro"]),
            share(one["accuracy_seen"]),
            share(one["accuracy_unseen"]),
            share(one["top3_accuracy"]),
            share(one["calibration_error"]),
            share(one["coverage_at_95"]),
        ]
        if wide:
            row += [share(one["wide"]["accuracy"]), share(one["wide"]["f1_macro"])]
        fit = one["fit"]
        rows.append(
            [
                *row,
                f"{fit['seconds']:.1f}",
                f"{float(format(one['predict_rows_s'], '.2g')):,.0f}",
                f"{fit['peak_mb']:,.0f}",
            ]
        )
    yield from table([*head, "fit s", "predict rows/s", "fit peak MB"], rows)
    if wide:
        yield ""
        yield (
            f"Wide: the {found['wide_rows']:,} rows, {found['wide_labels']:,} labels, that would "
            "be scored after learning all rows before the cut."
        )


def users(found: Mapping[str, Any]) -> Iterator[str]:
    """Accuracy by how many rows of the user were learned; nothing for a file without users."""
    methods = [one for one in found["methods"].values() if one.get("by_user_rows")]
    if not methods:
        return
    groups = methods[0]["by_user_rows"]
    yield "Accuracy by how many rows of the user were learned:"
    yield ""
    head = ["method", *(f"{name} ({one['rows']:,} rows)" for name, one in groups.items())]
    rows = [
        [one["name"], *(share(one["by_user_rows"][name]["accuracy"]) for name in groups)]
        for one in methods
    ]
    yield from table(head, rows)


def differences(found: Mapping[str, Any]) -> Iterator[str]:
    """Ours less the best baselines; nothing where there is none."""
    if not found["differences"]:
        return
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
                    interval(one["rows"][metric]),
                    interval(one["merchants"][metric]),
                ]
            )
    yield from table(
        ["against", "figure", "difference", "resampling rows", "resampling merchants"], rows
    )
    yield ""
    yield (
        f"{found['differences'][0]['resamples']:,} resamples. A difference is significant if its "
        "interval excludes 0. Rows of one merchant are not independent, so resampling merchants "
        "is the stricter test."
    )


def few(found: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Few labels: the rows just before {len(found['cuts'])} cuts "
        f"({', '.join(f'{cut:.0%}' for cut in found['cuts'])} of the rows), judged on the "
        f"{found['test_rows_at_most']:,} rows after each; means. Scored: {found['scored']} "
        f"({found['scored_labels']:,}), whether or not the few rows have them."
    )
    methods = found["methods"].values()
    for first, second, shown in FEW_TABLES if methods else ():
        points = next(iter(methods))["points"]
        head = [shown, *(f"{point['labels']:,} labels{_fewer(point, found)}" for point in points)]
        rows = [
            [
                one["name"],
                *(f"{share(point[first])} / {share(point[second])}" for point in one["points"]),
            ]
            for one in methods
        ]
        yield ""
        yield from table(head, rows)
    if found["left_out"]:
        yield ""
        yield f"Too few rows before a cut for {', '.join(f'{n:,}' for n in found['left_out'])}."


def _fewer(point: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    windows = point["windows"]
    return f" ({windows} of the cuts)" if windows < len(found["cuts"]) else ""


def scale(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What learning costs, one table of all *records* that have `scale`."""
    measured = [record for record in records if "scale" in record]
    features = max(record["scale"]["features_us_a_row"] for record in measured)
    yield (
        "Cost of training, ours, from stored features, on one thread. Building the features took "
        f"at most {features:.0f} µs a row before that."
    )
    yield ""
    yield from table(
        ["data", "rows", "labels", "fit s", "CPU s", "peak MB", "artifact MB", "load ms"],
        [
            [
                record["data"],
                f"{point['rows']:,}",
                f"{point['labels']:,}",
                f"{point['seconds']:.1f}",
                f"{point['cpu_seconds']:.1f}",
                f"{point['peak_mb']:,.0f}",
                f"{point['artifact_bytes'] / 1e6:.2f}",
                f"{point['load_ms']:.0f}",
            ]
            for record in measured
            for point in record["scale"]["points"]
        ],
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """With columns as wide as their widest cell, so that it can be read in a terminal too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    yield _line(head, widths)
    yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    for row in rows:
        yield _line(row, widths)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def interval(found: Mapping[str, float]) -> str:
    return f"{found['low']:+.4f} to {found['high']:+.4f}"
