"""The training job: runs the training process under limits, and deploys what passes the gate.

A pool child is a fork, and LightGBM's OpenMP can hang for ever in a fork. A fresh process cannot,
has its own limits on time and memory, and can be killed without harm. It ends when its standard
input closes, in whatever way this process died.
"""

from __future__ import annotations

import json
import os
import queue as queues
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import IO, Any

from shared.db.engine import transaction
from shared.errors import DeployConflict, TrainingFailed, Unavailable
from shared.experiments import traffic_split
from shared.jobs.store import Claim
from shared.log import get_logger
from shared.registry.train_report import SkippedRun, TrainReport, result_from_json
from shared.services import Services
from worker.execution.lease import Lease
from worker.execution.runner import Outcome, Retryable

POLL_S = 0.25
log = get_logger()


def train(services: Services, claim: Claim, lease: Lease) -> Outcome:
    """Train in a fresh process; its version is deployed, if it passes the gate, as the job ends.

    Raises:
        TrainingFailed: the run ended without a model, and another attempt would end like it.
        Retryable: the process was killed.
        JobCancelled, LeaseLost: see `Lease.check`.
    """
    lease.report("start")
    started = time.monotonic()
    report = _train_in_fresh_process(services, claim, lease)
    elapsed = {"elapsed_seconds": round(time.monotonic() - started, 3)}
    return Outcome({**report.to_json(), **elapsed}, partial(_publish, services, claim, report))


def _publish(
    services: Services, claim: Claim, report: TrainReport | SkippedRun
) -> Mapping[str, Any]:
    """Deploy a version that passed its gate, then prune old ones; the row of the job is locked.

    Not if another version went live since the gate: this one was not compared with it.
    """
    if isinstance(report, SkippedRun):
        return {}
    if claim.params.get("deploy") == "never":
        return {"deployed": False, "deploy_reason": "deploy=never was asked for"}
    reason = report.gate.reason
    if not report.gate.passed:
        return {"deployed": False, "deploy_reason": reason}
    try:
        services.registry.deploy(
            report.run_id,
            by=claim.requested_by,
            why=reason,
            expected_sequence=report.live_sequence,
        )
    except DeployConflict as conflict:
        return {"deployed": False, "deploy_reason": f"another version went live: {conflict}"}
    with transaction(services.engine) as session:
        traffic_split.lock(session)  # no trial begins with a version that is just being removed
        challenger = traffic_split.current(session, services.settings).challenger
        spare = [challenger] if challenger else []
        services.registry.prune(services.settings.registry_keep, spare=spare)
    return {"deployed": True, "deploy_reason": reason}


def _train_in_fresh_process(
    services: Services, claim: Claim, lease: Lease
) -> TrainReport | SkippedRun:
    request = {"job_id": claim.job_id, **claim.params}
    with subprocess.Popen(
        [sys.executable, "-m", "worker.training.trainer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # The memory limit counts reserved memory; with more arenas each thread reserves 64 MB.
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    ) as process:
        assert process.stdin is not None  # noqa: S101  a pipe
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return _follow(process, lease, services.settings.train_timeout_s)
        finally:
            process.kill()
            process.wait()


def _follow(
    process: subprocess.Popen[str], lease: Lease, timeout_s: int
) -> TrainReport | SkippedRun:
    """Pass the trainer's progress on until it gives its result or its error."""
    messages: queues.Queue[str | None] = queues.Queue()
    threading.Thread(target=_read_lines, args=(process.stdout, messages), daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while True:
        lease.check()
        if time.monotonic() > deadline:
            raise TrainingFailed(f"The run took longer than {timeout_s} s and was ended")
        try:
            line = messages.get(timeout=POLL_S)
        except queues.Empty:
            continue
        if line is None:
            break
        message = json.loads(line)
        if "progress" in message:
            lease.report(*message["progress"])
        elif "error" in message and message["error"]["code"] == Unavailable.code:
            raise Unavailable(message["error"]["message"])
        elif "error" in message:
            error = TrainingFailed(message["error"]["message"], **message["error"]["facts"])
            error.code = message["error"]["code"]  # type: ignore[misc]  # of this error alone
            raise error
        else:
            return result_from_json(message["result"])
    code = process.wait()
    how = f"was killed (signal {-code})" if code < 0 else f"ended with exit status {code}"
    log.warning("trainer.died", exit_code=code)
    raise Retryable(f"the training process {how}")


def _read_lines(pipe: IO[str], messages: queues.Queue[str | None]) -> None:
    for line in pipe:
        messages.put(line)
    messages.put(None)
