"""The servers that are measured: how each is started, and the requests for it."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.environments import PEERS, python_of
from local.servers.commands import free_port

TOKEN = "benchmark-token-0123456789"
PIPELINE = "pipeline.joblib"
Row = dict[str, Any]
OURS, EMPTY, BARE = "ours", "empty Flask view", "bare WSGI"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server to measure.

    Attributes:
        command: builds the command line from the folder with the models and the port.
        one: builds the request for one row.
        many: builds the request for many rows; None if the server has none.
        peer: whether it is another way to serve a model, not a floor.
        batching: whether the server answers waiting requests together.
        ready: what the response to a probe contains once the server is ready.
    """

    name: str
    command: Callable[[Path, int], Sequence[str]]
    one: Callable[[Row], bytes]
    many: Callable[[list[Row]], bytes] | None = None
    peer: bool = False
    batching: bool = False
    ready: bytes = b"HTTP/1.1 200"


def request(path: str, body: object) -> bytes:
    """A whole HTTP request."""
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _one(row: Row) -> bytes:
    return request("/ml/v2/predict", row)


def _many(rows: list[Row]) -> bytes:
    return request("/ml/v2/predict/batch", {"rows": rows})


def _own(*module: str) -> Callable[[Path, int], Sequence[str]]:
    """The command of a module of this project, which reads its port from the environment."""
    return lambda folder, port: [sys.executable, "-m", *module]


def _columns(row: Row) -> Row:
    """The pipeline's input; so the peers need not parse the date."""
    weekday = dt.date.fromisoformat(row["date"]).weekday()
    return {"merchant": row["merchant"], "amount": row["amount"], "weekday": weekday}


def _bentoml(service: str) -> Callable[[Path, int], Sequence[str]]:
    def command(folder: Path, port: int) -> Sequence[str]:
        start = [str(python_of("bentoml")), "-m", "bentoml", "serve", f"bentoml_service:{service}"]
        return [*start, "--working-dir", str(PEERS), "--host", "127.0.0.1", "--port", str(port)]

    return command


def _bentoml_rows(rows: list[Row]) -> bytes:
    return request("/predict", {"rows": list(map(_columns, rows))})


def _mlflow(folder: Path, port: int) -> Sequence[str]:
    python, saved = str(python_of("mlflow")), folder / "mlflow"
    if not saved.exists():
        script = str(PEERS / "mlflow_save.py")
        subprocess.run([python, script, str(folder / PIPELINE), str(saved)], check=True)
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [python, "-m", "mlflow", "models", "serve", "-m", str(saved)]
    return [*command, "--env-manager", "local", *address]


def _mlflow_rows(rows: list[Row]) -> bytes:
    return request("/invocations", {"dataframe_records": list(map(_columns, rows))})


# The settings of its page on adaptive batching. A batch of 32, the number of clients, is seldom
# full: the server waits for 10 ms, about the time of one request.
_MLSERVER_BATCHES = {"max_batch_size": 32, "max_batch_time": 0.01}


def _mlserver(**more: float) -> Callable[[Path, int], Sequence[str]]:
    def command(folder: Path, port: int) -> Sequence[str]:
        home = folder / f"mlserver-{port}"
        home.mkdir()
        settings = {
            "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(),
            "metrics_port": free_port(), "parallel_workers": 0, "debug": False,
        }  # fmt: skip
        model = {
            "name": "categories",
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": str(folder / PIPELINE)},
            **more,
        }
        home.joinpath("settings.json").write_text(json.dumps(settings))
        home.joinpath("model-settings.json").write_text(json.dumps(model))
        return [str(python_of("mlserver").with_name("mlserver")), "start", str(home)]

    return command


def _mlserver_rows(rows: list[Row]) -> bytes:
    """The V2 inference protocol: a tensor a column."""
    columns = list(map(_columns, rows))
    kinds = {"merchant": ("BYTES", "str"), "amount": ("FP64", "np"), "weekday": ("INT64", "np")}
    inputs = [
        {
            "name": name,
            "datatype": kind,
            "shape": [len(rows), 1],
            "data": [row[name] for row in columns],
            "parameters": {"content_type": content},
        }
        for name, (kind, content) in kinds.items()
    ]
    body = {
        "parameters": {"content_type": "pd"},
        "inputs": inputs,
        "outputs": [{"name": "predict_proba"}],
    }
    return request("/v2/models/categories/infer", body)


def _single(many: Callable[[list[Row]], bytes]) -> Callable[[Row], bytes]:
    return lambda row: many([row])


_SERVER = "benchmarks.serving.server"
TARGETS = (
    Target(name=OURS, command=_own("web"), one=_one, many=_many, ready=b'"available":true'),
    Target(name=EMPTY, command=_own(_SERVER, "benchmarks.serving.floors:flask"), one=_one),
    Target(name=BARE, command=_own(_SERVER, "benchmarks.serving.floors:wsgi"), one=_one),
    Target(
        name="Flask + scikit-learn",
        command=_own(_SERVER, "benchmarks.serving.plain:app"),
        one=_one,
        many=_many,
        peer=True,
    ),
    Target(
        name="BentoML",
        command=_bentoml("Categories"),
        one=_single(_bentoml_rows),
        many=_bentoml_rows,
        peer=True,
    ),
    Target(
        name="BentoML, batching",
        command=_bentoml("Batching"),
        one=_single(_bentoml_rows),
        peer=True,
        batching=True,
    ),
    Target(name="MLflow", command=_mlflow, one=_single(_mlflow_rows), many=_mlflow_rows, peer=True),
    Target(
        name="MLServer",
        command=_mlserver(),
        one=_single(_mlserver_rows),
        many=_mlserver_rows,
        peer=True,
    ),
    Target(
        name="MLServer, batching",
        command=_mlserver(**_MLSERVER_BATCHES),
        one=_single(_mlserver_rows),
        peer=True,
        batching=True,
    ),
)
