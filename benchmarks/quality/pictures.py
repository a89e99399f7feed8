"""Draws results as SVG; the same results give the same bytes.

    python -m benchmarks.quality.pictures results.jsonl DIR

Every line has a marker and a dash pattern of its own, so no colour is needed to tell them apart.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality.methods import METHODS, OURS

Record = Mapping[str, Any]

LEAST_COVERAGE = 0.02  # of fewer rows, precision is chance
LEAST_BIN_ROWS = 10  # and so is accuracy
TRIVIAL = "frequent"  # so far below the others that these could not be told apart beside it
# Colours that people with colour blindness can tell apart (Okabe and Ito).
_COLOURS = (
    "#000000",
    "#999999",
    "#56b4e9",
    "#0072b2",
    "#e69f00",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#8c6d31",
)
_MARKERS = "oxsD^v<>P"
_DASHES: Sequence[Any] = (
    "-",
    (0, (1, 2)),
    (0, (4, 2)),
    (0, (1, 1)),
    (0, (6, 2, 1, 2)),
    (0, (3, 1, 1, 1)),
    (0, (8, 2)),
    (0, (2, 1)),
    (0, (5, 1, 1, 1, 1, 1)),
)
_FULL = 1.02  # a share of all, and room for its marker
_STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.markersize": 5,
    "svg.hashsalt": "benchmarks.quality",  # else ids are random
}


def draw(records: Iterable[Record], out: Path) -> list[Path]:
    """Write what *records* have into *out*; of two of one name and kind, the later counts.

    Returns:
        The files written.
    """
    known = list(records)
    out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure] = {}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        for record in known:
            name = record["data"]
            if "few" in record and record["few"]["methods"]:
                figures[f"{name}-learning-curve"] = _learning_curve(name, record["few"])
            if "quality" in record:
                shown = f"{name}-latest{record['latest']}" if record["latest"] else name
                figures[f"{shown}-reliability"] = _reliability(shown, record["quality"])
                figures[f"{shown}-precision"] = _precision(shown, record["quality"])
        costs = {record["data"]: record["scale"]["points"] for record in known if "scale" in record}
        if costs:
            figures["training-cost"] = _training_cost(costs)
        return [_save(figure, out / f"{name}.svg") for name, figure in figures.items()]


def _learning_curve(name: str, found: Record) -> Figure:
    figure, (left, right) = _panels()
    for key, one in _lines(found):
        sizes = [point["labels"] for point in one["points"]]
        for axes, metric in ((left, "accuracy"), (right, "f1_macro")):
            values = [point[metric] for point in one["points"]]
            axes.plot(sizes, values, label=one["name"], **_line_of(key))
    for axes, shown in ((left, "accuracy"), (right, "macro-F1")):
        axes.set(xscale="log", xlabel="labels learned", ylabel=shown)
        ticks = [point["labels"] for point in next(iter(found["methods"].values()))["points"]]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
    return _finished(figure, left, f"{name}: after few labels, mean of three windows")


def _reliability(name: str, found: Record) -> Figure:
    """Of ours and the best baseline with probabilities, how much of what is stated is right."""
    figure, (left, right) = _panels()
    methods = found["methods"]
    others = [key for key in methods if key != OURS and METHODS[key].probable]
    rivals = sorted(others, key=lambda key: -methods[key]["accuracy"])
    left.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="as stated")
    for key in [*(key for key in methods if key == OURS), *rivals[:1]]:
        bins = [one for one in methods[key]["reliability"] if one["rows"] >= LEAST_BIN_ROWS]
        error = methods[key]["calibration_error"]
        left.plot(
            [one["confidence"] for one in bins],
            [one["accuracy"] for one in bins],
            label=f"{methods[key]['name']} (ECE {error:.3f})",
            **_line_of(key),
        )
        shares = [one["rows"] / methods[key]["rows"] for one in methods[key]["reliability"]]
        middles = [(one["from"] + one["to"]) / 2 for one in methods[key]["reliability"]]
        right.plot(middles, shares, **_line_of(key))
    left.set(ylabel="share that is right")
    right.set(ylabel="share of the rows")
    for axes in (left, right):
        axes.set(xlim=(0, _FULL), ylim=(0, _FULL), xlabel="confidence stated")
    return _finished(figure, left, f"{name}: how far confidence can be trusted")


def _precision(name: str, found: Record) -> Figure:
    figure = Figure(figsize=(7.5, 5.5))
    axes = figure.add_subplot()
    for key, one in _lines(found):
        curve = [point for point in one["precision_curve"] if point["coverage"] >= LEAST_COVERAGE]
        axes.plot(
            [point["coverage"] for point in curve],
            [point["precision"] for point in curve],
            label=one["name"],
            markevery=max(len(curve) // 10, 1),
            **_line_of(key),
        )
    axes.axhline(0.95, color="0.6", linewidth=1)
    axes.annotate("95%", (1, 0.95), color="0.4", va="top", ha="right")
    axes.set(xlim=(0, _FULL), ylim=(None, 1.01), xlabel="share of the rows, the surest first")
    axes.set_ylabel("share of them that is right")
    return _finished(figure, axes, f"{name}: precision by coverage")


def _training_cost(costs: Mapping[str, Sequence[Record]]) -> Figure:
    figure, (left, right) = _panels()
    for index, (name, points) in enumerate(costs.items()):
        rows = [point["rows"] for point in points]
        left.plot(rows, [point["seconds"] for point in points], label=name, **_style(index))
        right.plot(rows, [point["peak_mb"] for point in points], **_style(index))
    left.set(xlabel="rows learned", ylabel="seconds to learn")
    right.set(xlabel="rows learned", ylabel="peak memory, MB")
    for axes in (left, right):
        axes.margins(0.06)
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter("{x:,.0f}")
    return _finished(figure, left, "What learning costs, ours, one thread")


def _lines(found: Record) -> list[tuple[str, Record]]:
    return [(key, one) for key, one in found["methods"].items() if key != TRIVIAL]


def _panels() -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(10, 5))
    left, right = figure.subplots(1, 2)
    return figure, (left, right)


def _finished(figure: Figure, axes: Axes, title: str) -> Figure:
    figure.suptitle(title)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, handlelength=4)
    return figure


def _line_of(key: str) -> dict[str, Any]:
    """The looks of a method, the same in every picture."""
    return _style(list(METHODS).index(key), wide=key == OURS)


def _style(index: int, *, wide: bool = False) -> dict[str, Any]:
    place = index % len(_COLOURS)
    return {
        "color": _COLOURS[place],
        "marker": _MARKERS[place],
        "linestyle": _DASHES[place],
        "linewidth": 2.4 if wide else 1.4,
    }


def _save(figure: Figure, path: Path) -> Path:
    # Within the style: the salt of the ids is read now.
    figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.pictures")
    parser.add_argument("results", type=Path, help="what --json wrote")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    options = parser.parse_args(argv)
    lines = options.results.read_text("utf-8").splitlines()
    for path in draw([json.loads(line) for line in lines], options.out):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
