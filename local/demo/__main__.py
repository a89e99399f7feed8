"""`make demo`: from nothing to a live prediction, and the stack stays up.

Everything after the import goes through the HTTP API, as any client would. A second run finds its
work done and says so.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.client import Api, ApiError, build_features, describe_training, train
from local.demo import sample
from local.servers.binaries import ServersMissing
from local.stack import control
from local.stack.configuration import State
from local.stack.control import show
from local.stack.layout import ROOT, SAMPLE, StackError

STATEMENTS = SAMPLE / "statements.csv"
# Merchants as the terminal prints them; the first two places are not in the sample data.
EXAMPLES = (
    {"merchant": "SQ *PAPER CRANE ESPRESSO BAR 0423 OAKLAND CA", "abs_amount": 5.25},
    {"merchant": "TST* MIDNIGHT NOODLE HOUSE", "abs_amount": 31.40},
    {"merchant": "SHELL OIL 57444218 AUSTIN TX", "abs_amount": 48.20},
    {"merchant": "ACME ROBOTICS PAYROLL 204417", "amount": 3950.0},
)
BASELINES = {
    "most_frequent": "most frequent category",
    "merchant_lookup": "merchant lookup",
    "linear_text_model": "linear text model",
}


def demo() -> None:
    """Run and show every step.

    Raises:
        StackError, ServersMissing: the stack did not come up.
        ApiError: a step failed; the message says which call, and why.
    """
    began = time.monotonic()
    _title(1, "The stack")
    state = control.up()
    _title(2, "Sample statements")
    _import_sample(state)
    api = Api(state.web_url, _admin_token())
    _title(3, "Features")
    built = build_features(api, {"all": True}, _show_line)
    show(f"  {built['built']:,} built, {built['unchanged']:,} unchanged")
    _title(4, "Training")
    live = api.get("/ml/v2/model/status")
    if live["available"] and not built["built"] and not built.get("removed"):
        run_id = live["meta"]["run_id"]
        figures = api.get(f"/ml/v2/models/{run_id}")
        show(f"  model {run_id} is live and nothing has changed since: {_reason(figures)}")
    else:
        figures = train(api, _show_line)
        show(f"  {describe_training(figures)}")
    _show_figures(_flat(figures))
    _title(5, "Predictions")
    _show_predictions(api)
    _title(6, "Suggestions")
    _show_suggestions(api)
    _title(7, f"Done in {time.monotonic() - began:.0f} s; the stack stays up until: make down")
    control.print_urls(state)


def _import_sample(state: State) -> None:
    if not STATEMENTS.exists():
        count = sample.write(STATEMENTS, dt.datetime.now(dt.UTC).date())
        show(f"  {count:,} transactions written to {_short(STATEMENTS)}")
    command = [sys.executable, "-m", "worker.ingest", str(STATEMENTS)]
    began = time.monotonic()
    running = subprocess.Popen(command, cwd=ROOT, env=control.environment(state))
    while True:
        try:
            code = running.wait(5)
            break
        except subprocess.TimeoutExpired:
            show(f"  importing, {time.monotonic() - began:.0f} s")
    if code:
        raise StackError("the import of the sample statements failed; see above")


def _show_figures(figures: Mapping[str, Any]) -> None:
    """The model between simple rules and the noise ceiling, on later rows that it has not seen."""
    if figures.get("val_f1_macro") is None:
        show("  no category has enough labels to be judged")
        return
    print(f"\n  {'on ' + format(figures['val_size'], ',') + ' later transactions':<34}", end="")
    print(f"{'macro-F1':>9}{'accuracy':>10}")
    print(f"  {'the model':<34}{figures['val_f1_macro']:>9.3f}{figures['val_accuracy']:>10.3f}")
    # A version made by older code may lack some of them.
    beside = {title: figures["baselines"].get(name) for name, title in BASELINES.items()}
    beside["estimated ceiling (label noise)"] = figures.get("ceiling")
    for title, found in beside.items():
        if found and found["f1_macro"] is not None:
            print(f"  {title:<34}{found['f1_macro']:>9.3f}{found['accuracy']:>10.3f}")
    settled = figures.get("coverage_at_95")
    if settled:
        print(f"  the surest {settled['share']:.0%} of them are 95% right")


def _show_predictions(api: Api) -> None:
    """The first answers; web processes may need a moment to load a model just deployed."""
    deadline = time.monotonic() + 10
    for example in EXAMPLES:
        answer = api.post("/ml/v2/predict", example)
        while not answer["available"] and time.monotonic() < deadline:
            time.sleep(0.2)
            answer = api.post("/ml/v2/predict", example)
        if not answer["available"]:
            show("  no model is live: the run did not pass its gate, see above")
            return
        amount = example.get("abs_amount") or example["amount"]
        show(
            f"  {example['merchant']:<46}{amount:>9,.2f}   "
            f"{answer['label']} ({answer['confidence']:.0%})"
        )


def _show_suggestions(api: Api) -> None:
    """Show what a user would see, and why; or that they would be asked."""
    for item in api.post("/ml/v2/suggest", {"transactions": [*EXAMPLES]})["items"]:
        shown = f"{item['label']} ({item['confidence']:.0%})" if item["label"] else "(asks)"
        show(f"  {shown:<22} {item['layer'] if item['label'] else '':<10} {item['reasons'][0]}")


def _flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures at the top level, whether of a job's result or of a stored version."""
    return {**figures, **figures.get("meta", {}), **figures.get("manifest", {})}


def _reason(figures: Mapping[str, Any]) -> str:
    gate = figures.get("gate") or {}
    return str(gate.get("reason") or "its gate is not known")


def _admin_token() -> str:
    """Return the first admin's token of API_TOKENS; the stack needs one if that is set."""
    for item in os.environ.get("API_TOKENS", "").split(","):
        scope, _, secret = item.strip().partition(":")
        if scope == "admin":
            return secret
    return os.environ.get("API_TOKEN", "")


def _title(number: int, text: str) -> None:
    show(f"\n{number}. {text}")


def _show_line(line: str) -> None:
    show(f"  {line}")


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main() -> int:
    try:
        demo()
    except (StackError, ServersMissing, ApiError, RuntimeError) as error:
        print(f"\nlocal.demo: {error}\nThe logs: make logs", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
