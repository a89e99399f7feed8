"""What monitoring sees of real processes: exact counts, and an alert that fires and clears."""

from __future__ import annotations

import logging
import re
import signal
import statistics
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from shared.registry.store import Registry
from tests.project.test_alerts import expressions
from tests.support.api import deploy_a_model
from tests.support.prometheus import RULES, prometheus, shorten_durations
from tests.support.waiting import wait_until
from tests.system.stack import kill

pytestmark = pytest.mark.system
SHOP = {"merchant": "BEAN HOUSE #7", "amount": -4.5}
SILENCE_S = 12  # instead of two minutes
# The beat with the schedule of production, each entry every second.
HASTY_BEAT = (
    "import sys\n"
    "from worker.app import app\n"
    "for entry in app.conf.beat_schedule.values():\n"
    "    if entry['task'] == 'ledger.probe':\n"
    "        entry['schedule'] = 1.0\n"
    "app.start(['beat', '--schedule', sys.argv[1]])\n"
)


def metrics(stack):
    """The samples of one scrape."""
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.port}/metrics", timeout=10) as answer:
        body = answer.read().decode()
    return {
        name: float(value) for name, value in re.findall(r"^(lm_\S+) (\S+)$", body, re.MULTILINE)
    }


def web_processes(master):
    """Those that answer: they have the port open, or will soon."""
    return [
        child
        for child in psutil.Process(master.pid).children(recursive=True)
        if not any("resource_tracker" in part for part in child.cmdline())
    ]


def test_every_call_is_counted_once_though_processes_are_killed_and_recycled(stack, database):
    """2 web processes, 200 calls, one of them killed with -9 half-way; a worker's child too."""
    stack.env["WEB_PROCESSES"] = "2"
    web = stack.web()
    worker = stack.worker("features")
    counted = 'lm_ml_predict_requests_total{available="false"}'

    for _ in range(100):
        assert stack.call("POST", "/ml/v2/predict", SHOP).status == 200
    half = metrics(stack)[counted]
    victim = web_processes(web)[0]
    victim.kill()
    wait_until(lambda: not victim.is_running(), "the killed process is gone")
    wait_until(lambda: len(web_processes(web)) == 2 and stack.alive(), "another takes its place")
    job = stack.call("POST", "/ml/v2/features").body["job_id"]
    stack.ended(job)
    for child in psutil.Process(worker.pid).children():
        child.kill()
    stack.ended(stack.call("POST", "/ml/v2/features").body["job_id"])
    for _ in range(100):
        assert stack.call("POST", "/ml/v2/predict", SHOP).status == 200
    kill(worker, signal.SIGKILL)

    assert half == 100
    assert {metrics(stack)[counted] for _ in range(10)} == {200}
    assert metrics(stack)["lm_ml_predict_latency_seconds_count"] == 200
    assert metrics(stack)['lm_jobs_ended_total{kind="features",state="succeeded"}'] <= 2
    alive = list(Path(stack.env["PROMETHEUS_MULTIPROC_DIR"]).glob("*.alive"))
    assert len(alive) == 3  # those two, and their parent


def test_the_alert_for_a_stuck_worker_fires_and_clears(stack, database, tmp_path):
    """A Prometheus server scrapes the stack; each query of the dashboards gives what it should."""
    deploy_a_model(database, Registry(Path(stack.env["ML_REGISTRY_DIR"])))
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO jobs (id, kind, state, requested_by, result, finished_at) VALUES "
                "('a', 'train', 'succeeded', 'test', "
                '\'{"val_f1_macro": 0.9, "deployed": true}\', now())'
            )
        )
    stack.web()
    stack.worker("features")
    trainer = stack.worker("training")
    stack.start("beat", "-c", HASTY_BEAT, str(tmp_path / "beat-schedule"))
    rules = shorten_durations(RULES.read_text(), SILENCE_S)
    with prometheus(stack.port, tmp_path / "prometheus", rules) as server:
        silent = f"time() - lm_queue_consumed_timestamp_seconds < {SILENCE_S}"
        wait_until(lambda: len(server.query(silent)) == 2, "both workers take probes")
        for _ in range(20):
            stack.call("POST", "/ml/v2/predict", SHOP)
            stack.call("POST", "/ml/v2/suggest", {"transactions": [SHOP]})
        wait_until(lambda: server.query('rate(up{job="web"}[1m])') != [], "some scrapes")
        wait_until(lambda: server.firing() == set(), "nothing fires")

        found = {expression: server.query(expression) for expression in expressions()}
        trainer.send_signal(signal.SIGSTOP)
        for child in psutil.Process(trainer.pid).children():
            child.suspend()
        fired_s = wait_until(lambda: server.firing() != set(), "an alert fires")
        fired = server.firing()
        for child in psutil.Process(trainer.pid).children():
            child.resume()
        trainer.send_signal(signal.SIGCONT)
        cleared_s = wait_until(lambda: server.firing() == set(), "the alert clears")

    logging.getLogger(__name__).info(
        "after %.1f s %s, after %.1f s clear", fired_s, fired, cleared_s
    )
    assert fired == {("MLWorkerNotConsuming", "training")}
    may_be_empty = re.compile(r"lm_drift_|[<>=] *[\d.]|unless")
    assert [it for it, rows in found.items() if not rows and not may_be_empty.search(it)] == []


def timed(call, *arguments):
    """The seconds that a call took."""
    started = time.monotonic()
    call(*arguments)
    return time.monotonic() - started


def test_a_scrape_does_not_wait_for_frozen_servers(stack, database, postgres_server, redis_server):
    """A frozen Redis is not asked at all; a frozen PostgreSQL is not waited for."""
    stack.env["WEB_PROCESSES"] = "1"
    stack.web()
    usual_s = [timed(metrics, stack) for _ in range(20)]
    before = metrics(stack)
    read_at = before["lm_facts_read_timestamp_seconds"]
    wait_until(lambda: time.time() - read_at > 5.5, "what is known is too old to be told again")
    postgres = psutil.Process(postgres_server.pid)
    frozen = [postgres, *postgres.children(recursive=True), psutil.Process(redis_server.pid)]

    try:
        for process in frozen:
            process.suspend()
        took = [timed(metrics, stack) for _ in range(20)]
        after = metrics(stack)
    finally:
        for process in reversed(frozen):
            process.resume()

    logging.getLogger(__name__).info("frozen: first %.3f s, longest %.3f s", took[0], max(took))
    assert took[0] >= 0.025  # it has been asked
    assert statistics.median(took) < max(0.05, 3 * statistics.median(usual_s))
    assert after["lm_facts_read_timestamp_seconds"] == read_at
    assert after.keys() >= before.keys()
