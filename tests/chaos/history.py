"""Checks of a scene's history against a small model; each function yields the broken promises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.registry.store import Deployment
from tests.chaos.load import Answer, ExpectedAnswers

TERMINAL = ("succeeded", "failed", "cancelled")


def of_answers(
    answers: Sequence[Answer], known: ExpectedAnswers, pointers: Iterable[Deployment], lost: int
) -> Iterator[str]:
    """Every answer is whole, of one version that was live under its number, and none goes back.

    Args:
        lost: how many requests may have got no answer: those under way in a killed process.
    """
    live = {pointer.sequence: pointer.run_id for pointer in pointers}
    newest: dict[int, int] = {}
    missing = [answer for answer in answers if answer.status != 200]
    if len(missing) > lost:
        first = ", ".join(f"{it.status} {it.body}" for it in missing[:3])
        yield f"{len(missing)} of {len(answers)} got no answer, {lost} expected: {first}"
    for answer in answers:
        if answer.status != 200:
            continue
        if not answer.body["available"]:
            yield "there was a model, and the answer says that there is none"
            continue
        run_id, sequence = answer.body["model"]["run_id"], answer.body["model"]["sequence"]
        predicted = answer.body["label"], answer.body["confidence"]
        if live.get(sequence) != run_id:
            yield f"{run_id} answered as number {sequence}, which was {live.get(sequence)}"
        if run_id not in known.says or predicted != known.says[run_id][answer.row]:
            yield f"{run_id} answered {predicted} for row {answer.row}, which it does not predict"
        if sequence < newest.get(answer.connection, 0):
            yield f"number {sequence} after {newest[answer.connection]} on one connection"
        newest[answer.connection] = sequence


def of_registry(pointers: Sequence[Deployment]) -> Iterator[str]:
    """The newest first, each number one less than the one before."""
    numbers = [pointer.sequence for pointer in pointers]
    if numbers != list(range(len(numbers), 0, -1)):
        yield f"the deploys are numbered {numbers[:10]}"


def of_jobs(
    accepted: Iterable[str],
    jobs: Mapping[str, Mapping[str, Any]],
    ends: Mapping[str, Sequence[str]],
    meant: Mapping[str, str],
    attempts: int,
) -> Iterator[str]:
    """Each job that was accepted has succeeded, once, after so many attempts at most.

    Args:
        jobs: how they stand, by id.
        ends: each end of each job, in order, and each change of one that had ended; by id.
        meant: the state in which a job was meant to end that the scene cancelled or poisoned.
        attempts: 1 where nothing was taken from a worker in the middle of its work.
    """
    for job_id in accepted:
        expected = meant.get(job_id, "succeeded")
        job = jobs.get(job_id)
        if job is None:
            yield f"job {job_id} is lost"
            continue
        if job["state"] != expected:
            yield f"job {job_id} is {job['state']}, not {expected}: {job['error']}"
        if job["attempt"] > attempts:
            yield f"job {job_id} was tried {job['attempt']} times"
    for job_id, states in ends.items():
        if len(states) > 1:
            yield f"job {job_id} ended more than once: {', '.join(states)}"


def of_faults(injections: int, recovered_s: Sequence[float], within_s: float) -> Iterator[str]:
    """Something was done to the service, and each time it was well again within the limit."""
    if not injections:
        yield "nothing was injected"
    if late := [seconds for seconds in recovered_s if seconds > within_s]:
        yield f"normal again only after {max(late):.1f} s, {within_s:.0f} s are promised"
