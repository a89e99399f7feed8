"""A process that stops in the middle of work costs time, never a job."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from sqlalchemy import text

from shared.db import engine
from shared.jobs import broker
from shared.jobs import store as job_store
from tests.support.factories import add_transactions
from tests.support.waiting import wait_until
from tests.system.stack import callers
from tests.system.test_monitoring import metrics

pytestmark = pytest.mark.system
LOOKED_UP = 'lm_request_phase_seconds_count{phase="lookup",request="suggest"}'


def trainer_of(worker):
    """The training process that runs under this worker, if there is one."""
    for child in psutil.Process(worker.pid).children(recursive=True):
        try:
            if "worker.training.trainer" in child.cmdline():
                return child
        except psutil.NoSuchProcess:
            continue
    return None


def training(stack, worker, job_id):
    """The job's training process, once it has reported progress."""
    wait_until(lambda: trainer_of(worker) is not None, "training has begun")
    trainer = trainer_of(worker)
    wait_until(
        lambda: stack.job(job_id)["progress"]["phase"] not in (None, "start"), "it makes progress"
    )
    assert trainer.is_running()
    return trainer


def test_cancel_ends_a_running_training_within_seconds(stack, database):
    """Its process ends with it."""
    add_transactions(database, 12_000, labelled=12_000)
    worker = stack.worker("training")
    stack.web()
    job_id = stack.call("POST", "/ml/v2/train").body["job_id"]
    trainer = training(stack, worker, job_id)

    asked = stack.call("DELETE", f"/ml/v2/jobs/{job_id}")
    wait_until(lambda: stack.job(job_id)["state"] == "cancelled", "it is cancelled", 10)

    assert asked.status == 202
    assert not trainer.is_running()


def test_a_job_requested_while_redis_is_down_is_done_later(stack, database, redis_server):
    """202 within a second, predictions undisturbed, and the job runs once Redis is back."""
    add_transactions(database, 60, labelled=60)
    stack.web()
    redis_server.kill()
    try:
        reply = stack.call("POST", "/ml/v2/train")
        predict = stack.call("POST", "/ml/v2/predict", {"merchant": "TEST", "abs_amount": 10})
    finally:
        redis_server.start()
    stack.worker("training")
    job = stack.ended(reply.body["job_id"])

    assert reply.status == 202
    assert stack.seconds_of("/ml/v2/train")[0] < 1
    assert predict.status == 200
    assert job["state"] == "succeeded", job


def test_a_request_for_a_job_does_not_wait_for_a_frozen_redis(stack, database, redis_server):
    """Frozen is worse than refused: the connection opens, and nothing comes."""
    add_transactions(database, 60, labelled=60)
    stack.web()
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        reply = stack.call("POST", "/ml/v2/train")
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)

    assert reply.status == 202
    assert stack.seconds_of("/ml/v2/train")[0] < 1


def test_a_worker_closes_its_sockets_to_a_killed_redis(stack, database, redis_server):
    """And it works again within seconds, each time."""
    kills = 4
    worker = stack.worker("features")
    stack.web()
    stack.ended(stack.call("POST", "/ml/v2/features").body["job_id"])
    main = psutil.Process(worker.pid)
    before = main.num_fds()

    def noticed():
        return stack.log("features").count("Cannot connect")

    for _ in range(kills):
        known = noticed()
        redis_server.kill()
        wait_until(lambda known=known: noticed() > known, "the worker has noticed")
        redis_server.start()
        again = stack.ended(stack.call("POST", "/ml/v2/features").body["job_id"], 10)
        assert again["state"] == "succeeded", again

    wait_until(lambda: main.num_fds() < before + kills, "the sockets are closed")


def test_a_message_lost_with_redis_is_sent_again(stack, database, redis_server):
    """Redis comes back empty; the job is a row of PostgreSQL."""
    add_transactions(database, 60, labelled=60)
    stack.web()
    job_id = stack.call("POST", "/ml/v2/train").body["job_id"]
    redis = broker.celery.connection_for_write()
    wait_until(lambda: redis.default_channel.client.llen("training") == 1, "the message is there")
    redis.default_channel.client.flushall()

    stack.worker("training")

    assert stack.ended(job_id)["state"] == "succeeded"


def test_two_nightly_messages_start_one_run(stack, database):
    """Two beats send two messages; one night is one features job and one training."""
    add_transactions(database, 60, labelled=60)
    stack.web()
    stack.worker("features")
    stack.worker("training")
    for _ in range(2):
        broker.celery.send_task(broker.NIGHTLY, queue="features")

    def trainings():
        return stack.call("GET", "/ml/v2/jobs?kind=train").body["jobs"]

    wait_until(lambda: trainings() and trainings()[0]["state"] == "succeeded", "the night is over")

    assert len(trainings()) == 1
    assert len(stack.call("GET", "/ml/v2/jobs?kind=features").body["jobs"]) == 1


def test_a_nightly_training_without_new_labels_is_recorded_as_skipped(stack, database):
    """No model is trained from the same rows twice; the record says why."""
    add_transactions(database, 60, labelled=60)
    stack.web()
    stack.worker("features")
    stack.worker("training")
    stack.ended(stack.call("POST", "/ml/v2/train").body["job_id"])

    broker.celery.send_task(broker.NIGHTLY, queue="features")
    wait_until(
        lambda: len(stack.call("GET", "/ml/v2/jobs?kind=train").body["jobs"]) == 2, "the night"
    )
    newest = stack.call("GET", "/ml/v2/jobs?kind=train").body["jobs"][0]
    job = stack.ended(newest["job_id"])

    assert job["state"] == "succeeded"
    assert job["result"]["skipped"]
    assert "has changed since the last run" in job["result"]["reason"]


def test_the_schedule_is_every_night_at_0323_utc():
    """And a lease is shorter than the time within which work must go on."""
    entry = broker.celery.conf.beat_schedule["nightly"]

    assert broker.celery.conf.timezone == "UTC"
    assert (entry["schedule"].hour, entry["schedule"].minute) == ({3}, {23})
    assert job_store.LEASE_S < 30


def test_training_runs_in_a_new_process_with_a_memory_limit(stack, database):
    """LightGBM hangs in a fork of the worker, so the trainer is a program of its own."""
    add_transactions(database, 12_000, labelled=12_000)
    worker = stack.worker("training")
    stack.web()
    job_id = stack.call("POST", "/ml/v2/train").body["job_id"]

    trainer = training(stack, worker, job_id)

    assert trainer.cmdline()[1:] == ["-m", "worker.training.trainer"]
    assert trainer.rlimit(psutil.RLIMIT_AS)[0] == 8192 * 1024 * 1024
    with database.connect() as connection:
        assert connection.scalar(text("SELECT state FROM jobs")) == "running"


def test_predictions_go_on_while_postgres_is_frozen(stack, database, postgres_server):
    """However many requests wait for it: they hold half of the threads at most."""
    stack.env["WEB_PROCESSES"] = "1"
    stack.web()
    frozen = psutil.Process(postgres_server.pid)
    stopped = [frozen, *frozen.children(recursive=True)]
    seconds = []
    with callers(6, lambda: stack.call("GET", "/ml/v2/jobs")) as listed:
        wait_until(lambda: len(listed) > 20, "connections are open")
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(5):
                started = time.monotonic()
                assert stack.call("POST", "/ml/v2/predict", {"merchant": "X"}).status == 200
                seconds.append(time.monotonic() - started)
        finally:
            for process in reversed(stopped):
                process.send_signal(signal.SIGCONT)

    assert max(seconds) <= 2 * (engine.FREE_S + engine.PING_S + engine.CONNECT_S)


def test_suggestions_for_raw_transactions_go_on_while_postgres_is_frozen(
    stack, database, postgres_server
):
    """PostgreSQL is waited for once, then not asked for a while; all answers say `degraded`."""
    stack.env["WEB_PROCESSES"] = "1"
    stack.web()
    wanted = {"transactions": [{"merchant": "SHELL OIL 5744"}]}
    assert stack.call("POST", "/ml/v2/suggest", wanted).body["degraded"] is False
    frozen = psutil.Process(postgres_server.pid)
    stopped = [frozen, *frozen.children(recursive=True)]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        before = metrics(stack)[LOOKED_UP]
        answers = [stack.call("POST", "/ml/v2/suggest", wanted).body for _ in range(6)]
        looked_up = metrics(stack)[LOOKED_UP] - before
        stored = stack.call("POST", "/ml/v2/suggest", {"txn_ids": [1]})
    finally:
        for process in reversed(stopped):
            process.send_signal(signal.SIGCONT)

    assert {answer["degraded"] for answer in answers} == {True}
    offered = {answer["items"][0]["alternatives"][0]["label"] for answer in answers}
    assert offered == {"Fuel"}  # by the text alone
    assert max(stack.seconds_of("/ml/v2/suggest")[1:7]) < 2
    assert 1 <= looked_up <= 3
    assert stored.status == 503
    wait_until(
        lambda: not stack.call("POST", "/ml/v2/suggest", wanted).body["degraded"], "it is back", 10
    )
