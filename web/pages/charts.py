"""Charts of a version's evaluation report, as SVG by pygal.

Lines differ by dash, not by colour alone, and the page has all figures in tables, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from shared.errors import NotFound
from shared.registry.store import Registry
from web.http.schemas import Version
from web.models import views as model_views

VERSIONS = 20
CLASSES = 15
_BASELINES = ("merchant_lookup", "linear_text_model")


def render(name: str, registry: Registry) -> bytes:
    """The chart of this name; NotFound without such a chart, or a live version to draw."""
    if name == "history":
        return _history(model_views.list_versions(registry)[:VERSIONS][::-1])
    live = registry.current()
    if name not in _OF_REPORT or live is None:
        raise NotFound("There is no such chart")
    return _OF_REPORT[name](model_views.version_detail(registry, live.run_id).report or {})


def _chart(kind: str = "XY", **options: Any) -> Any:
    import pygal  # here, since most processes draw no chart
    from pygal.style import Style

    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="#555",
        foreground_strong="#555",
        foreground_subtle="#888",
        colors=("#0b62a4", "#c2410c", "#3f7d20", "#7c3aed"),
        font_family="system-ui, sans-serif",
        label_font_size=16,
        major_label_font_size=16,
        legend_font_size=16,
        title_font_size=18,
        guide_stroke_color="#ddd",
        major_guide_stroke_color="#ccc",
        guide_stroke_dasharray="",
        major_guide_stroke_dasharray="",
        stroke_width=2.5,
        transition="0s",
    )
    defaults = {
        "js": [], "style": style, "width": 640, "height": 340, "range": (0, 1),
        "legend_at_bottom": True, "dots_size": 3.5, "show_x_guides": False, "human_readable": True,
    }  # fmt: skip
    return getattr(pygal, kind)(**(defaults | options))


# `!important`, since the rules of pygal name the id of the chart.
_DARK = (
    "@media (prefers-color-scheme: dark) {"
    " text { fill: #e7e5e4 !important }"
    " .guide.line, .axis .line { stroke: #57534e !important }"
    + "".join(
        f" .color-{n} {{ stroke: {color} !important; fill: {color} !important }}"
        for n, color in enumerate(("#7cc0f5", "#fdba74", "#a3d977", "#c4b5fd"))
    )
    + " .line.color-0, path.line { fill: none !important } }"
)


def _svg(chart: Any) -> bytes:
    """The chart as SVG, without pygal's script for tooltips."""
    tree = chart.render_tree()
    ElementTree.SubElement(tree, "{http://www.w3.org/2000/svg}style").text = _DARK
    for parent in list(tree.iter()):
        for child in list(parent):
            if str(child.tag).endswith("script"):
                parent.remove(child)
    return bytes(ElementTree.tostring(tree))


def _history(shown: list[Version]) -> bytes:
    chart = _chart(kind="Line", title="Versions, the newest on the right", x_label_rotation=20)
    chart.x_labels = [version.created_at[5:16].replace("T", " ") for version in shown]
    lines = {
        "macro-F1": [version.val_f1_macro for version in shown],
        "accuracy": [version.val_accuracy for version in shown],
    } | {
        name.replace("_", " "): [
            ((version.baselines or {}).get(name) or {}).get("f1_macro") for version in shown
        ]
        for name in _BASELINES
    }
    for (title, figures), dashes in zip(lines.items(), ("", "8,4", "2,3", "8,3,2,3"), strict=True):
        chart.add(title, figures, stroke_style={"dasharray": dashes})
    return _svg(chart)


def _reliability(report: Mapping[str, Any]) -> bytes:
    chart = _chart(title="Right, by how sure it was", x_title="confidence", y_title="right")
    bins = [figures for figures in report.get("reliability") or [] if figures["rows"]]
    chart.add("observed", [(figures["confidence"], figures["accuracy"]) for figures in bins])
    chart.add("as stated", [(0, 0), (1, 1)], dots_size=0, stroke_style={"dasharray": "6,4"})
    return _svg(chart)


def _precision(report: Mapping[str, Any]) -> bytes:
    chart = _chart(title="Right, of the surest", x_title="share shown", y_title="right")
    curve = report.get("precision_curve") or []
    chart.add("precision", [(point["coverage"], point["precision"]) for point in curve])
    return _svg(chart)


def most_frequent(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The figures of each category, the most frequent first."""
    return sorted(report.get("classes") or [], key=lambda figures: -figures["support"])


def _classes(report: Mapping[str, Any]) -> bytes:
    classes = most_frequent(report)[:CLASSES][::-1]
    chart = _chart(
        kind="HorizontalBar",
        title="F1 of the most frequent categories",
        show_legend=False,
        height=60 + 26 * max(len(classes), 1),
    )
    chart.x_labels = [figures["label"] for figures in classes]
    chart.add("F1", [figures["f1"] for figures in classes])
    return _svg(chart)


_OF_REPORT: dict[str, Callable[[Mapping[str, Any]], bytes]] = {
    "reliability": _reliability,
    "precision": _precision,
    "classes": _classes,
}
