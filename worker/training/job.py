"""The training job: a fresh process does the work under limits, this one watches and publishes.

A pool child is a fork, and LightGBM's OpenMP can hang for ever in a fork; a fresh process cannot,
has limits of its own on time and memory, and can be killed without harm. It is tied to this one by
its standard input: when that closes, because this process died in whatever way, it ends too.
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

LOOK_EVERY_S = 0.25
log = get_logger()


def train(own: Services, claim: Claim, lease: Lease) -> Outcome:
    """Train in a fresh process; its version is deployed, if it may be, as the job ends.

    Raises:
        TrainingFailed: the run ended without a model, and another attempt would end like it.
        TryAgain: the process was killed.
        JobCancelled, LeaseLost: see `Lease.check`.
    """
    lease.report("start")
    started = time.monotonic()
    report = _train_in_fresh_process(own, claim, lease)
    elapsed = {"elapsed_seconds": round(time.monotonic() - started, 3)}

    def settle() -> Mapping[str, Any]:
        return {} if isinstance(report, SkippedRun) else _publish(own, claim, report)

    return Outcome({**report.to_json(), **elapsed}, settle)


def _publish(own: Services, claim: Claim, report: TrainReport) -> Mapping[str, Any]:
    """Deploy the version that passed its gate, then prune old ones; runs under the row's lock.

    A version that fails its gate is kept and not deployed; nor is one if another went live since
    the gate: it was compared with a model that is no longer the one to beat.
    """
    if claim.params.get("deploy") == "never":
        return {"deployed": False, "deploy_reason": "deploy=never was asked for"}
    reason = report.gate.reason
    if not report.gate.passed:
        return {"deployed": False, "deploy_reason": reason}
    try:
        own.registry.deploy(
            report.run_id,
            by=claim.requested_by,
            why=reason,
            expected_sequence=report.live_sequence,
        )
    except DeployConflict as conflict:
        return {"deployed": False, "deploy_reason": f"another version went live: {conflict}"}
    with transaction(own.engine) as session:
        traffic_split.lock(session)  # no trial begins with a version that is just being removed
        challenger = traffic_split.current(session, own.settings).challenger
        spare = [challenger] if challenger else []
        own.registry.prune(own.settings.registry_keep, spare=spare)
    return {"deployed": True, "deploy_reason": reason}


def _train_in_fresh_process(own: Services, claim: Claim, lease: Lease) -> TrainReport | SkippedRun:
    request = {"job_id": claim.job_id, **claim.params}
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.training.trainer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # The limit on its memory counts what is reserved: else 64 MB for each thread.
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    try:
        assert process.stdin is not None  # noqa: S101  it is a pipe
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return _follow(process, lease, own.settings.train_timeout_s)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            _close(pipe)


def _follow(
    process: subprocess.Popen[str], lease: Lease, timeout_s: int
) -> TrainReport | SkippedRun:
    """Pass the trainer's progress on until it gives its result or its error."""
    lines: queues.Queue[str | None] = queues.Queue()
    threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while True:
        lease.check()
        if time.monotonic() > deadline:
            raise TrainingFailed(f"The run took longer than {timeout_s} s and was ended")
        try:
            line = lines.get(timeout=LOOK_EVERY_S)
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
            error.code = message["error"]["code"]  # type: ignore[misc]  # this one's own code
            raise error
        else:
            return result_from_json(message["result"])
    code = process.wait()
    how = f"killed (signal {-code})" if code < 0 else f"ended with exit status {code}"
    log.warning("trainer.died", exit_code=code)
    raise Retryable(
        f"the training process was {how}" if code < 0 else f"the training process {how}"
    )


def _read_lines(pipe: IO[str] | None, lines: queues.Queue[str | None]) -> None:
    for line in pipe or ():
        lines.put(line)
    lines.put(None)


def _close(pipe: IO[str] | None) -> None:
    if pipe is not None:
        try:
            pipe.close()
        except BrokenPipeError:
            log.debug("trainer.pipe_was_closed")
