"""A small client of the HTTP API: `python -m local.client train`, against any deployment.

BASE_URL names the deployment; the default is the local stack, else http://localhost:8000.
API_TOKEN, if set, is sent as the bearer token. Results go to standard output as JSON, an
explanation as a table; progress and errors go to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from local.stack.configuration import State

TIMEOUT_S = 30
POLL_EVERY_S = 0.5
RETRY_FOR_S = 120  # a followed job ends with an error if the service is away for longer
EXAMPLE = {"merchant": "SQ *BLUE HERON COFFEE 0423", "abs_amount": 5.25, "currency": "USD"}
JSON = "application/json"


class ApiError(RuntimeError):
    """The service refused or failed; *status* is 0 if it does not answer."""

    def __init__(self, message: str, status: int, problem: dict[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem


class Api:
    """HTTP client of one deployment."""

    def __init__(self, base_url: str, token: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = {"Accept": JSON, "Content-Type": JSON}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> dict[str, Any]:
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        request = urllib.request.Request(
            self.base_url + path,
            method=method,
            headers=self._headers,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            problem = _problem(error.read())
            detail = problem.get("detail") or problem.get("title") or error.reason
            raise ApiError(f"{method} {path}: {error.code} {detail}", error.code, problem) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise ApiError(
                f"{self.base_url} does not answer ({reason}); make up starts the local stack, "
                "BASE_URL names another",
                0,
                {},
            ) from None


def connect() -> Api:
    """Return a client of the deployment that the environment names, or of the local stack."""
    state = State.load()
    default = state.web_url if state else "http://localhost:8000"
    return Api(os.environ.get("BASE_URL") or default, os.environ.get("API_TOKEN", ""))


def follow(api: Api, job_id: str, show: Callable[[str], None]) -> dict[str, Any]:
    """Wait for the end of a job, showing each step; return the ended job.

    Raises:
        ApiError: the service did not answer for two minutes, or does not know the job.
    """
    shown, shown_at, answered_at = "", 0.0, time.monotonic()
    while True:
        now = time.monotonic()
        try:
            job = api.get(f"/ml/v2/jobs/{job_id}")
            answered_at = now
        except ApiError as error:
            if (error.status and error.status < 500) or now - answered_at > RETRY_FOR_S:
                raise
            job = {"state": "no answer yet", "progress": None}
        if job["state"] in ("succeeded", "failed", "cancelled"):
            return job
        line = _progress(job)
        # Repeated after 5 s: silence would look like a hang.
        if line != shown or now - shown_at > 5:
            show(line)
            shown, shown_at = line, now
        time.sleep(POLL_EVERY_S)


def require_result(job: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a job that succeeded.

    Raises:
        ApiError: it failed, or was cancelled.
    """
    if job["state"] != "succeeded":
        error = job.get("error") or {}
        message = error.get("message") if isinstance(error, dict) else error
        raise ApiError(f"the job {job['job_id']} {job['state']}: {message or '-'}", 0, {})
    return dict(job["result"] or {})


def train(api: Api, show: Callable[[str], None]) -> dict[str, Any]:
    """Train a model, or follow the run that is active already; return its result."""
    try:
        job_id = api.post("/ml/v2/train", {})["job_id"]
    except ApiError as error:
        job_id = error.problem.get("job_id")
        if error.status != 409 or not job_id:
            raise
        show("A training run is at work already; following that one.")
    return require_result(follow(api, str(job_id), show))


def describe_training(result: dict[str, Any]) -> str:
    """Return a line that says whether the new model is live, and why."""
    if result.get("skipped"):
        return str(result["reason"])
    how = "deployed" if result["deployed"] else "NOT deployed"
    return f"model {result['run_id']} {how}: {result['deploy_reason']}"


def build_features(api: Api, body: dict[str, Any], show: Callable[[str], None]) -> dict[str, Any]:
    """Build features; return the job's result."""
    return require_result(follow(api, str(api.post("/ml/v2/features", body)["job_id"]), show))


def check_service(api: Api) -> dict[str, Any]:
    """Return health, dependencies, model and a prediction.

    Raises:
        ApiError: one of them failed.
    """
    return {
        "healthz": api.get("/healthz"),
        "readyz": api.get("/readyz"),
        "model": api.get("/ml/v2/model/status"),
        "prediction": api.post("/ml/v2/predict", EXAMPLE),
    }


def format_explanation(answer: dict[str, Any]) -> list[str]:
    """Return an explanation as lines: each candidate, then the contributions to its two scores."""
    if not answer["available"]:
        return ["No model is deployed yet: make ml-train"]
    kind = answer["kind"]
    category = f"{kind['kind']} ({kind['source']}: {kind['evidence']})" if kind else "-"
    lines = [
        f"{answer['label']}  confidence {answer['confidence']:.3f}",
        f"merchant {answer['merchant'] or '-'}  kind {category}  model {answer['model']['run_id']}",
    ]
    for rank, candidate in enumerate(answer["candidates"], start=1):
        odds = candidate["log_odds"]
        shown = "-" if odds is None else f"{odds:+.3f}"
        lines += [
            "",
            f"{rank}  {candidate['label']:<32}  share {candidate['share']:.3f}"
            f"  log-odds {shown}  linear {candidate['linear']:+.3f}",
        ]
        if odds is not None:
            for move in candidate["features"]:
                value = "-" if move["value"] is None else f"{move['value']:.4g}"
                lines.append(_contribution_line(move["contribution"], move["name"], value))
            lines.append(_contribution_line(candidate["rest"], "(all other features)"))
            lines.append(_contribution_line(candidate["bias"], "(bias)"))
        lines.append("   of linear:")
        lines += [
            _contribution_line(move["contribution"], f'"{move["text"]}"')
            for move in candidate["words"]
        ]
        lines.append(_contribution_line(candidate["other"], "(all else)"))
    return lines


def _contribution_line(contribution: float, name: str, value: str = "") -> str:
    return f"   {contribution:+9.3f}  {name:<34}{value:>12}".rstrip()


def _progress(job: dict[str, Any]) -> str:
    progress = job.get("progress") or {}
    words = [str(progress.get("phase") or job["state"])]
    if progress.get("total"):
        words.append(f"{progress['done']:,} of {progress['total']:,}")
    elif progress.get("done"):
        words.append(f"{progress['done']:,}")
    if job.get("attempt", 0) > 1:
        words.append(f"attempt {job['attempt']}")
    return "  ".join(words)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(body))
    except ValueError:
        return {}


def _print(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.client")
    verbs = parser.add_subparsers(dest="verb", required=True)
    built = verbs.add_parser("features", help="build features and wait for them")
    built.add_argument("--days", type=int, default=180)
    built.add_argument("--all", action="store_true")
    verbs.add_parser("train", help="train and wait for the result")
    verbs.add_parser("status", help="the model that is live")
    predicted = verbs.add_parser("predict", help="predict one transaction")
    predicted.add_argument("--merchant", default=EXAMPLE["merchant"])
    predicted.add_argument("--amount", type=float, default=EXAMPLE["abs_amount"])
    explained = verbs.add_parser("explain", help="what moved the prediction of one transaction")
    explained.add_argument("--txn-id", type=int, help="a stored one, instead of all below")
    for name in ("merchant", "description", "date", "currency", "channel", "mcc", "account"):
        explained.add_argument(f"--{name}")
    explained.add_argument("--amount", type=float, help="money out is negative")
    explained.add_argument("--user-id")
    verbs.add_parser("smoke", help="fail unless everything answers")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    args = _parse_arguments(argv)
    api = connect()
    try:
        match args.verb:
            case "features":
                answer = build_features(
                    api, {"all": True} if args.all else {"days": args.days}, _print
                )
            case "train":
                answer = train(api, _print)
                _print(describe_training(answer))
            case "status":
                answer = api.get("/ml/v2/model/status")
            case "predict":
                answer = api.post(
                    "/ml/v2/predict", {"merchant": args.merchant, "abs_amount": args.amount}
                )
            case "explain":
                fields = {name: value for name, value in vars(args).items() if value is not None}
                del fields["verb"]
                print(
                    *format_explanation(api.post("/ml/v2/predict/explain", fields or EXAMPLE)),
                    sep="\n",
                )
                return 0
            case _:
                answer = check_service(api)
    except ApiError as error:
        print(f"local.client: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
