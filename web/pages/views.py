"""The pages, read-only: their scripts change things through the API, as any client does."""

from __future__ import annotations

from pathlib import Path

from flask import Response, request, send_from_directory
from flask.typing import ResponseReturnValue

from shared.statements.column_names import FIELDS
from web.http.context import get_services
from web.pages import charts
from web.pages import dashboard as dashboard_data
from web.pages.render import bp, render
from web.suggestions import review as review_views

STATIC = Path(__file__).parents[1] / "static"
_SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a chart has inline styles


@bp.get("/")
def dashboard() -> ResponseReturnValue:
    """The live model, its quality, jobs, canary and drift."""
    services = get_services()
    summary = dashboard_data.load_summary(services)
    return render("dashboard.html", links=services.settings.links, **summary)


@bp.get("/figures")
def figures() -> ResponseReturnValue:
    """The counts of the dashboard, which the page fetches afterwards."""
    return render("figures.html", **dashboard_data.load_counts(get_services()))


@bp.get("/try")
def try_one() -> ResponseReturnValue:
    """A form for one transaction, and how its suggestion comes about."""
    return render("try.html")


@bp.get("/csv")
def csv_file() -> ResponseReturnValue:
    """Import of a statement: choose, preview, import, download the annotated copy."""
    return render("csv.html", fields=FIELDS)


@bp.get("/review")
def review_queue() -> ResponseReturnValue:
    """The review queue, which works by keyboard alone."""
    user_id = request.args.get("user_id", "").strip().replace("\0", "")
    return render("review.html", **review_views.load_filter_choices(get_services(), user_id))


@bp.get("/charts/<name>.svg")
def chart(name: str) -> ResponseReturnValue:
    """A chart of the live version's report; the page has the same figures as a table."""
    svg = charts.render(name, get_services().registry)
    headers = {"Content-Security-Policy": _SVG_POLICY}
    return Response(svg, mimetype="image/svg+xml", headers=headers)


@bp.get("/static/<path:name>")
def file(name: str) -> ResponseReturnValue:
    """A style sheet or a script."""
    answer = send_from_directory(STATIC, name)
    answer.headers["Cache-Control"] = "no-cache"
    return answer
