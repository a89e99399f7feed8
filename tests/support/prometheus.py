"""A real Prometheus server for a test: what it scrapes, computes and fires."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.support.waiting import wait_until
from tests.system.stack import free_port

RULES = ROOT / "prometheus" / "rules" / "ml_alerts.yml"


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`; without it the test is skipped, and says so."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(
            f"{name} is not installed: the alerts are UNTESTED (apt-get install prometheus)"
        )
    return found


class Prometheus:
    """Asks the server's API."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now.

        Raises:
            urllib.error.HTTPError: it is not a valid one.
        """
        asked = urllib.parse.urlencode({"query": expression})
        return list(self._get(f"/api/v1/query?{asked}")["result"])

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, each with its queue, if it has one."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("queue", ""))
            for alert in self._get("/api/v1/alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._base}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self._base + path, timeout=10) as answer:
            result = json.loads(answer.read())
        assert result["status"] == "success", result
        return dict(result["data"])


def shorten_durations(rules: str, seconds: int) -> str:
    """The same rules with every `for` of one second, and two minutes of silence shortened."""
    shortened = re.sub(r"for: \w+", "for: 1s", rules)
    return re.sub(r"> 120\b", f"> {seconds}", shortened)


@contextlib.contextmanager
def prometheus(web_port: int, folder: Path, rules: str) -> Iterator[Prometheus]:
    """A server that scrapes the web port each second; it ends with the block."""
    binary = tool("prometheus")
    folder.mkdir()
    (folder / "rules.yml").write_text(rules)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": "web", "static_configs": [{"targets": [f"127.0.0.1:{web_port}"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        server = Prometheus(port)
        wait_until(server.ready, "Prometheus is ready")
        yield server
    finally:
        process.terminate()
        process.wait()
