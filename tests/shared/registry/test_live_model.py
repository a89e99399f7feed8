"""What a serving process promises: it follows each deploy, mixes nothing, and outlives damage."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.features.extract import RawTransaction, features_of
from shared.registry import live_model
from shared.registry.live_model import LiveModel
from shared.registry.store import Registry
from tests.support import registry_writer
from tests.support.registry_damage import DAMAGE, overwrite
from tests.support.registry_writer import TwoParts, publish, run_id_of, save
from tests.support.waiting import wait_until

ROW = features_of(RawTransaction(description="COFFEE", abs_amount=3.5))
NEVER = 3600.0  # seconds between two looks, where the test looks by itself


class Outcomes:
    """What `on_reload` was told; `wait_for` returns as soon as it was told that."""

    def __init__(self) -> None:
        self.recorded: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, outcome: str) -> None:
        with self._changed:
            self.recorded.append(outcome)
            self._changed.notify_all()

    def wait_for(self, *recorded: str, timeout_s: float = 10) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.recorded == list(recorded), timeout_s)


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes()


@pytest.fixture
def a_runtime(registry: Registry, outcomes: Outcomes) -> Iterator[Callable[..., LiveModel]]:
    """Makes runtimes whose model says the number in each of its two files."""
    made = []

    def make(loader: Any = TwoParts, poll_s: float = NEVER, of: Registry = registry) -> LiveModel:
        made.append(LiveModel(of, loader=loader, poll_s=poll_s, on_reload=outcomes))
        return made[-1]

    yield make
    for runtime in made:
        runtime.stop()


def answer(runtime: LiveModel) -> Any:
    """The prediction and the run_id it is said to come from."""
    found = runtime.predict(ROW)
    return found and (found.prediction, found.model.deployment.run_id)


def test_prediction_is_none_until_the_first_deploy_is_loaded(
    registry: Registry, a_runtime: Callable[..., LiveModel], outcomes: Outcomes
) -> None:
    """A web process need not be restarted for the first training run."""
    runtime = a_runtime(poll_s=0.01)
    assert runtime.predict(ROW) is None
    status = runtime.status()
    assert (status.available, status.meta, status.loaded_at) == (False, {}, None)

    publish(registry, 1)

    assert outcomes.wait_for("missing", "loaded")
    assert answer(runtime) == ([1, 1], run_id_of(1))


def test_a_deploy_is_followed_within_two_seconds_at_the_default_pace(
    registry: Registry, outcomes: Outcomes
) -> None:
    publish(registry, 1)
    runtime = LiveModel(registry, loader=TwoParts, on_reload=outcomes)  # type: ignore[arg-type]
    runtime.start()

    publish(registry, 2)

    assert outcomes.wait_for("loaded", "loaded", timeout_s=2)
    assert answer(runtime) == ([2, 2], run_id_of(2))
    runtime.stop()


def test_a_rollback_is_followed_like_a_deploy(
    registry: Registry, a_runtime: Callable[..., LiveModel]
) -> None:
    publish(registry, 1)
    publish(registry, 2)
    runtime = a_runtime()
    assert answer(runtime) == ([2, 2], run_id_of(2))

    registry.rollback(by="ann", why="bad")
    runtime.check()

    assert answer(runtime) == ([1, 1], run_id_of(1))


def test_the_status_says_which_version_answers_since_when(
    registry: Registry, a_runtime: Callable[..., LiveModel]
) -> None:
    publish(registry, 7)
    pointer = registry.current()
    assert pointer is not None

    status = a_runtime().status()

    assert status.available
    assert status.error is None
    assert status.loaded_at is not None
    assert status.meta["number"] == 7
    assert status.meta["run_id"] == run_id_of(7)
    assert status.meta["sequence"] == 1
    assert status.meta["deployed_at"] == pointer.at


def test_concurrent_first_requests_load_the_model_once(
    registry: Registry, a_runtime: Callable[..., LiveModel]
) -> None:
    """Sixty-four clients at a cold process all get the model's answer."""
    publish(registry, 1)
    loads, asking = [], []

    def loader(files: Mapping[str, bytes]) -> TwoParts:
        loads.append(threading.get_ident())
        wait_until(lambda: len(asking) == 64, "all clients have come while the first one loads")
        return TwoParts(files)

    runtime = a_runtime(loader)
    gate = threading.Barrier(64)

    def first_request(_: int) -> Any:
        gate.wait(60)
        asking.append(threading.get_ident())
        return answer(runtime)

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(first_request, range(64)))

    assert answers == [([1, 1], run_id_of(1))] * 64
    assert len(loads) == 1


def test_no_request_fails_or_mixes_two_versions_while_they_are_swapped(
    registry: Registry, a_runtime: Callable[..., LiveModel], outcomes: Outcomes
) -> None:
    """Three hundred deploys under four clients: model, labels and run_id are always of one."""
    for number in (1, 2, 3):
        save(registry, number)
    registry.deploy(run_id_of(1), by="storm", why="")
    runtime = a_runtime(poll_s=0.001)
    runtime.start()
    done = threading.Event()

    def ask() -> set[int]:
        seen = set()
        while not done.wait(0.0002):  # else four busy threads keep the deploys from the GIL
            found = runtime.predict(ROW)
            assert found is not None
            number = found.model.manifest.meta["number"]
            assert list(found.prediction) == [number, number]
            assert found.model.deployment.run_id == run_id_of(number)
            seen.add(number)
        return seen

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        try:
            for swap in range(300):
                registry.deploy(run_id_of(1 + (swap + 1) % 3), by="storm", why="")
        finally:
            done.set()
        seen = [client.result(20) for client in clients]

    runtime.check()
    assert answer(runtime) == ([1, 1], run_id_of(1))
    assert set.union(*seen) == {1, 2, 3}
    assert set(outcomes.recorded) == {"loaded"}
    assert len(outcomes.recorded) > 20


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_version_damaged_after_its_deploy_is_refused_and_the_old_one_serves_on(
    root: Path,
    registry: Registry,
    a_runtime: Callable[..., LiveModel],
    outcomes: Outcomes,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    """It is named and quarantined; a process that starts now serves the old one as well."""
    publish(registry, 1)
    runtime = a_runtime()
    runtime.start()
    publish(registry, 2)
    damage(root / "versions" / run_id_of(2))

    runtime.check()
    runtime.check()

    assert answer(runtime) == ([1, 1], run_id_of(1))
    assert outcomes.recorded == ["loaded", "refused"]  # and not tried again at each look
    assert run_id_of(2) in str(runtime.status().error)
    assert registry.quarantined(run_id_of(2)) is not None
    fresh = a_runtime()
    assert answer(fresh) == ([1, 1], run_id_of(1))
    assert f"version {run_id_of(1)} is served instead" in str(fresh.status().error)


def test_no_byte_of_a_damaged_version_reaches_the_loader(
    root: Path, registry: Registry, a_runtime: Callable[..., LiveModel]
) -> None:
    """LightGBM ends the process on damaged text, so the check comes first."""
    publish(registry, 1)
    overwrite(root / "versions" / run_id_of(1) / "model.json", b"garbage")
    given: list[Mapping[str, bytes]] = []

    runtime = a_runtime(loader=given.append)

    assert runtime.predict(ROW) is None
    assert given == []


def test_a_version_that_the_loader_refuses_is_treated_as_damaged(
    registry: Registry, a_runtime: Callable[..., LiveModel]
) -> None:
    """Whole, but of a kind this code cannot serve. What the loader says may quote the data."""
    publish(registry, 1)
    runtime = a_runtime()
    runtime.start()
    odd = registry.save({"model.json": b'"SECRET MERCHANT"'}, {})
    registry.deploy(odd.run_id, by="ann", why="")

    runtime.check()

    assert answer(runtime) == ([1, 1], run_id_of(1))
    assert registry.quarantined(odd.run_id) == "the version cannot be read: TypeError"


def test_the_next_good_deploy_after_a_bad_one_is_served(
    root: Path, registry: Registry, a_runtime: Callable[..., LiveModel], outcomes: Outcomes
) -> None:
    publish(registry, 1)
    publish(registry, 2)
    overwrite(root / "versions" / run_id_of(2) / "model.json", b"")
    runtime = a_runtime()
    runtime.start()

    publish(registry, 3)
    runtime.check()

    assert answer(runtime) == ([3, 3], run_id_of(3))
    assert runtime.status().error is None
    assert outcomes.recorded == ["refused", "loaded"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\0" * 400])
def test_a_damaged_pointer_leaves_the_model_in_place_and_a_new_process_finds_it(
    root: Path, registry: Registry, a_runtime: Callable[..., LiveModel], content: bytes | None
) -> None:
    """The history still knows the last good one; the next deploy is followed."""
    publish(registry, 1)
    publish(registry, 2)
    runtime = a_runtime()
    runtime.start()
    current = root / "deploy" / "CURRENT"
    current.unlink()
    if content is not None:
        current.write_bytes(content)

    runtime.check()

    fresh = a_runtime()
    assert answer(runtime) == answer(fresh) == ([2, 2], run_id_of(2))
    assert "CURRENT" in str(runtime.status().error)
    assert registry.quarantined(run_id_of(2)) is None
    publish(registry, 3)
    for each in (runtime, fresh):
        each.check()
        assert answer(each) == ([3, 3], run_id_of(3))
        assert each.status().error is None


def test_fall_back_never_serves_a_rolled_back_version(
    root: Path, registry: Registry, a_runtime: Callable[..., LiveModel]
) -> None:
    """1, 2, 3, back to 2, which gets damaged: 1 serves, not the rejected 3."""
    for number in (1, 2, 3):
        publish(registry, number)
    registry.rollback(by="ann", why="bad")
    overwrite(root / "versions" / run_id_of(2) / "model.json", b"")

    assert answer(a_runtime()) == ([1, 1], run_id_of(1))


def test_missing_deployed_version_is_tried_again_and_not_quarantined(
    root: Path,
    registry: Registry,
    a_runtime: Callable[..., LiveModel],
    outcomes: Outcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The folder of versions may be mounted late."""
    publish(registry, 1)
    (root / "versions").rename(root / "elsewhere")
    runtime = a_runtime()
    runtime.start()
    runtime.check()  # too early for another try
    assert outcomes.recorded == ["missing"]
    monkeypatch.setattr(live_model, "RETRY_S", 0.0)
    later = a_runtime()
    later.start()

    (root / "elsewhere").rename(root / "versions")
    later.check()

    assert outcomes.recorded == ["missing", "missing", "loaded"]
    assert answer(later) == ([1, 1], run_id_of(1))
    assert registry.quarantined(run_id_of(1)) is None


def test_damaged_version_is_refused_on_a_read_only_disk(
    root: Path, registry: Registry, a_runtime: Callable[..., LiveModel], outcomes: Outcomes
) -> None:
    """The quarantine is for the others; this process needs no marker."""
    publish(registry, 1)
    runtime = a_runtime()
    runtime.start()
    publish(registry, 2)
    overwrite(root / "versions" / run_id_of(2) / "model.json", b"")
    (root / "deploy" / "quarantine").write_text("a file where the folder should be")

    runtime.check()

    assert outcomes.recorded == ["loaded", "refused"]
    assert answer(runtime) == ([1, 1], run_id_of(1))


def test_process_serves_its_model_when_the_registry_is_gone(
    root: Path, registry: Registry, a_runtime: Callable[..., LiveModel]
) -> None:
    publish(registry, 1)
    runtime = a_runtime()
    runtime.start()

    root.rename(root.with_name("gone"))
    runtime.check()

    assert answer(runtime) == ([1, 1], run_id_of(1))
    assert runtime.status().error == "no version is deployed"


def test_forked_process_follows_deployments_itself(root: Path, registry: Registry) -> None:
    """Threads do not survive a fork, so the child starts its own."""
    publish(registry, 1)
    forked = registry_writer.PROCESSES.Event()
    process = registry_writer.start(registry_writer.follow_after_a_fork, root, forked, 2)
    assert forked.wait(60)

    publish(registry, 2)

    process.join(60)
    assert process.exitcode == registry_writer.WON


def test_importing_the_live_model_loads_no_model_code() -> None:
    """LightGBM must not be loaded before a fork; the loader brings it in at the start."""
    code = "import sys, web.app; sys.exit('lib_lightgbm' in open('/proc/self/maps').read())"

    assert os.spawnv(os.P_WAIT, registry_writer.PYTHON, [registry_writer.PYTHON, "-c", code]) == 0
