"""Draws results as SVG; the same results give the same bytes.

Every line has a marker and a dash pattern of its own, so no colour is needed to tell them apart,
and the ground is white wherever the picture is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

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
NAME_GAP = 0.05  # of an axis' height, between the names of two lines
NAME_MOVES = 200  # enough for all to get apart
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
    "svg.fonttype": "none",  # text stays text: half the size, and it can be searched
    "svg.hashsalt": "benchmarks.quality",  # else ids are random
}


def draw(records: Iterable[Record], out: Path) -> list[Path]:
    """Write what *records*, one for each file and number of rows learned, have into *out*.

    How far confidence can be trusted is drawn of the record that learned most.

    Returns:
        The files written.
    """
    of_file: dict[str, list[Record]] = {}
    for record in records:
        of_file.setdefault(record["data"], []).append(record)
    out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure] = {}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        for name, some in of_file.items():
            if parts := _curves(some):
                figures[f"{name}-learning-curve"] = _learning_curve(name, parts)
            tables = [record["quality"] for record in some if "quality" in record]
            if tables:
                most = max(tables, key=lambda table: int(table["train_rows"]))
                figures[f"{name}-reliability"] = _reliability(name, most)
                figures[f"{name}-precision"] = _precision(name, most)
        costs = {
            name: record["scale"]["points"]
            for name, some in of_file.items()
            for record in some
            if "scale" in record
        }
        if costs:
            figures["training-cost"] = _training_cost(costs)
        return [_save(figure, out / f"{name}.svg") for name, figure in figures.items()]


def _curves(records: Sequence[Record]) -> list[dict[str, list[Record]]]:
    """For each method its points after few labels, and those of the main tables, which are judged
    on other rows; nothing of a file without a learning curve.
    """
    few: dict[str, list[Record]] = {}
    tables: dict[str, list[Record]] = {}
    for record in records:
        for key, one in record.get("few", {}).get("methods", {}).items():
            few[key] = one["points"]
        table = record.get("quality", {"methods": {}})
        for key, one in table["methods"].items():
            tables.setdefault(key, []).append({"labels": table["train_rows"], **one["wide"]})
    for points in tables.values():
        points.sort(key=lambda point: int(point["labels"]))
    return [few, tables] if few else []


def _learning_curve(name: str, parts: Sequence[Mapping[str, Sequence[Record]]]) -> Figure:
    figure = Figure(figsize=(8, 9.5))
    sizes = [sorted({p["labels"] for points in part.values() for p in points}) for part in parts]
    ticks = sorted({*sizes[0], *sizes[1]})
    for axes, metric, shown in zip(
        figure.subplots(2, 1), ("accuracy", "f1_macro"), ("accuracy", "macro-F1"), strict=True
    ):
        for part in parts:
            for key, points in part.items():
                if key != TRIVIAL:
                    x = [point["labels"] for point in points]
                    axes.plot(x, [point[metric] for point in points], **_line_of(key))
        ends = {
            METHODS[key].name: next(part[key][-1] for part in reversed(parts) if key in part)
            for key in METHODS
            if key != TRIVIAL and any(key in part for part in parts)
        }
        axes.set(xscale="log", xlabel="labels learned", ylabel=shown)
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        _name_lines(axes, {one: (end["labels"], end[metric]) for one, end in ends.items()})
        if sizes[1]:
            between = float(np.sqrt(sizes[0][-1] * sizes[1][0]))
            axes.axvline(between, color="0.6", linewidth=1, linestyle=":")
            for side, title, apart in (
                ("right", "mean of three windows", -8),
                ("left", "main tables", 8),
            ):
                axes.annotate(
                    title,
                    (between, 1.01),
                    xycoords=axes.get_xaxis_transform(),
                    xytext=(apart, 0),
                    textcoords="offset points",
                    ha=side,
                    color="0.3",
                )
    figure.suptitle(f"{name}: what more labels give")
    return figure


def _name_lines(axes: Axes, ends: Mapping[str, tuple[float, float]]) -> None:
    """Write each line's name right of its end, moved up or down as far as names need room."""
    heights = axes.transAxes.inverted().transform(axes.transData.transform(list(ends.values())))[
        :, 1
    ]
    order = np.argsort(heights, kind="stable")
    places = heights[order]
    for _ in range(NAME_MOVES):
        missing = np.maximum(NAME_GAP - np.diff(places), 0)
        places[:-1] -= missing / 2
        places[1:] += missing / 2
    names = list(ends)
    for index, place in zip(order.tolist(), places.tolist(), strict=True):
        axes.annotate(
            names[index],
            ends[names[index]],
            xytext=(1.04, place),
            textcoords="axes fraction",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.7},
        )


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
    axes.annotate("95%", (0.01, 0.949), color="0.4", va="top")
    axes.set(xlim=(0, _FULL), ylim=(None, 1.01), xlabel="share of the rows, the surest first")
    axes.set_ylabel("share of them that is right")
    return _finished(figure, axes, f"{name}: precision by coverage")


def _training_cost(costs: Mapping[str, Sequence[Record]]) -> Figure:
    figure = Figure(figsize=(8, 8.5))
    for axes, measure, shown in zip(
        figure.subplots(2, 1),
        ("seconds", "peak_mb"),
        ("seconds to learn", "peak memory, MB"),
        strict=True,
    ):
        for index, points in enumerate(costs.values()):
            rows = [point["rows"] for point in points]
            axes.plot(rows, [point[measure] for point in points], **_style(index))
        axes.set(xscale="log", yscale="log", xlabel="rows learned", ylabel=shown)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:,.0f}")
            axis.set_minor_formatter(NullFormatter())
        _name_lines(
            axes, {name: (some[-1]["rows"], some[-1][measure]) for name, some in costs.items()}
        )
    figure.suptitle("What learning costs, ours, one thread")
    return figure


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
