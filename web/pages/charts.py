"""Pictures of a version's report, as SVG by pygal. Marks differ by shape and dash, not by colour
alone, and every figure stands in a table of the page, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from shared.errors import NotFound
from shared.registry.store import Registry
from web.models import versions

VERSIONS = 20
CLASSES = 15
_BASELINES = ("merchant_lookup", "linear_text_model")


def render(name: str, registry: Registry) -> bytes:
    """The chart of this name.

    Raises:
        NotFound: there is no such chart, or no live version to draw.
    """
    if name == "history":
        return _history(versions.list_versions(registry)[:VERSIONS][::-1])
    live = registry.current()
    if name not in _OF_REPORT or live is None:
        raise NotFound("There is no such chart")
    return _OF_REPORT[name](versions.version_detail(registry, live.run_id)["report"] or {})


def _line(**more: Any) -> Any:
    import pygal  # not above: a process that draws nothing needs none of it
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
    usual = {
        "js": [], "style": style, "width": 640, "height": 340, "range": (0, 1),
        "legend_at_bottom": True, "dots_size": 3.5, "show_x_guides": False, "human_readable": True,
    }  # fmt: skip
    kind = more.pop("kind", "XY")
    return getattr(pygal, kind)(**{**usual, **more})


# A picture follows the reader's scheme by itself; the library's own rules name each chart's id.
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
    """Without the script that the library adds for its tooltips."""
    tree = chart.render_tree()
    ElementTree.SubElement(tree, "{http://www.w3.org/2000/svg}style").text = _DARK
    for parent in list(tree.iter()):
        for child in list(parent):
            if str(child.tag).endswith("script"):
                parent.remove(child)
    return bytes(ElementTree.tostring(tree))


def _history(listed: list[dict[str, Any]]) -> bytes:
    chart = _line(kind="Line", title="Versions, the newest on the right", x_label_rotation=20)
    chart.x_labels = [it["created_at"][5:16].replace("T", " ") for it in listed]
    dashes = iter(("", "8,4", "2,3", "8,3,2,3"))
    lines: list[tuple[str, Callable[[Mapping[str, Any]], Any]]] = [
        ("macro-F1", lambda it: it["val_f1_macro"]),
        ("accuracy", lambda it: it["val_accuracy"]),
        *((name.replace("_", " "), _baseline(name)) for name in _BASELINES),
    ]
    for title, get in lines:
        chart.add(title, [get(it) for it in listed], stroke_style={"dasharray": next(dashes)})
    return _svg(chart)


def _baseline(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda it: ((it["baselines"] or {}).get(name) or {}).get("f1_macro")


def _reliability(report: Mapping[str, Any]) -> bytes:
    chart = _line(title="Right, by how sure it was", x_title="confidence", y_title="right")
    bins = [it for it in report.get("reliability") or [] if it["rows"]]
    chart.add("observed", [(it["confidence"], it["accuracy"]) for it in bins])
    chart.add("as stated", [(0, 0), (1, 1)], dots_size=0, stroke_style={"dasharray": "6,4"})
    return _svg(chart)


def _precision(report: Mapping[str, Any]) -> bytes:
    chart = _line(title="Right, of the surest", x_title="share shown", y_title="right")
    points = report.get("precision_curve") or []
    chart.add("precision", [(it["coverage"], it["precision"]) for it in points])
    return _svg(chart)


def _classes(report: Mapping[str, Any]) -> bytes:
    found = sorted(report.get("classes") or [], key=lambda it: -it["support"])[:CLASSES][::-1]
    chart = _line(
        kind="HorizontalBar",
        title="F1 of the most frequent categories",
        show_legend=False,
        height=60 + 26 * max(len(found), 1),
    )
    chart.x_labels = [it["label"] for it in found]
    chart.add("F1", [it["f1"] for it in found])
    return _svg(chart)


_OF_REPORT: dict[str, Callable[[Mapping[str, Any]], bytes]] = {
    "reliability": _reliability,
    "precision": _precision,
    "classes": _classes,
}
