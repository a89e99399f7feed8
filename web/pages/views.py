"""The pages: a dashboard, and one transaction looked at closely. What changes something is asked of
the API by the script, as any client does."""

from __future__ import annotations

from pathlib import Path

from flask import Response, send_from_directory
from flask.typing import ResponseReturnValue

from shared.statements.column_names import FIELDS
from web.http.context import services
from web.pages import charts
from web.pages import dashboard as overview
from web.pages.render import bp, render
from web.suggestions import review as review_views

STATIC = Path(__file__).parents[1] / "static"
_SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a chart brings its style along


@bp.get("/")
def dashboard() -> ResponseReturnValue:
    """What is live, how good it is, what runs, and what people say to it."""
    own = services()
    return render("dashboard.html", links=own.settings.links, **overview.load_summary(own))


@bp.get("/figures")
def figures() -> ResponseReturnValue:
    """The part of the dashboard that has to be counted; the page fetches it."""
    return render("figures.html", **overview.load_counts(services()))


@bp.get("/try")
def try_one() -> ResponseReturnValue:
    """A transaction typed in, and what each step makes of it."""
    return render("try.html")


@bp.get("/csv")
def csv_file() -> ResponseReturnValue:
    """A bank's file dropped, looked at, taken, and given back."""
    return render("csv.html", fields=FIELDS)


@bp.get("/review")
def review_queue() -> ResponseReturnValue:
    """Suggestions to confirm, by keyboard alone."""
    return render("review.html", **review_views.load_filter_choices(services()))


@bp.get("/charts/<name>.svg")
def chart(name: str) -> ResponseReturnValue:
    """A picture of the live version's report; the page has the same figures as a table."""
    drawn = charts.render(name, services().registry)
    headers = {"Content-Security-Policy": _SVG_POLICY}
    return Response(drawn, mimetype="image/svg+xml", headers=headers)


@bp.get("/static/<path:name>")
def file(name: str) -> ResponseReturnValue:
    """A style or a script."""
    answer = send_from_directory(STATIC, name)
    answer.headers["Cache-Control"] = "no-cache"
    return answer
