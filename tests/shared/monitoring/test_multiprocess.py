"""N processes that count M times have counted N times M, whoever dies how; and files stay few."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from shared.monitoring.multiprocess import MultiprocessCollector, compact

# Counts as often as it is told, says so, and then waits to be killed.
COUNTS = (
    "import sys\n"
    "from shared.monitoring import metrics\n"
    "for _ in range(int(sys.argv[1])):\n"
    "    metrics.count_prediction(available=True, seconds=0.001)\n"
    "metrics.MODEL_PROCESSES.labels('web', 'live').set(1)\n"
    "print('counted', flush=True)\n"
    "sys.stdin.read()\n"
)
# A parent that has counted, and its children, one after another, that count and are gone.
RECYCLES = (
    "import os\n"
    "from shared.monitoring import metrics\n"
    "metrics.count_prediction(available=True, seconds=0.001)\n"
    "for number in range(20):\n"
    "    if (child := os.fork()) == 0:\n"
    "        metrics.count_prediction(available=True, seconds=0.001)\n"
    "        os._exit(0)\n"
    "    os.waitpid(child, 0)\n"
)


@pytest.fixture
def counting(tmp_path):
    """Starts a process that counts and lives on."""
    started = []

    def start(times: int) -> subprocess.Popen[bytes]:
        env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        process = subprocess.Popen(
            [sys.executable, "-c", COUNTS, str(times)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == b"counted\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def end(process, how):
    process.send_signal(how)
    process.wait()


def total(place):
    """Predictions counted, by the counter and by the histogram."""
    found = {
        (sample.name, sample.labels.get("available")): sample.value
        for family in MultiprocessCollector(place).collect()
        for sample in family.samples
    }
    counted = found["lm_ml_predict_requests_total", "true"]
    assert found["lm_ml_predict_latency_seconds_count", None] == counted
    assert found["lm_ml_predict_latency_seconds_sum", None] == pytest.approx(counted / 1000)
    return counted


def live_model_gauges(place):
    """Processes that say that they hold the live model."""
    return [
        sample.value
        for family in MultiprocessCollector(place).collect()
        for sample in family.samples
        if family.name == "lm_model_processes"
    ]


def test_killed_processes_stay_counted_and_leave_no_files(counting, tmp_path):
    """Of the dead there is one set of files, however many they were."""
    first, second, third = (counting(7) for _ in range(3))
    assert total(tmp_path) == 21

    for process in (first, second):
        end(process, signal.SIGKILL)
    assert total(tmp_path) == 21
    end(third, signal.SIGKILL)
    files_before = sum(1 for _ in tmp_path.rglob("*.db"))
    assert total(tmp_path) == 21
    counting(4)
    assert total(tmp_path) == 25

    assert len(list(tmp_path.glob("*.alive"))) == 1
    assert sum(1 for _ in tmp_path.rglob("*.db")) <= files_before + 1


def test_gauge_of_a_killed_process_is_removed(counting, tmp_path):
    """Two hold the live model; one is killed; one holds it."""
    killed, _ = counting(1), counting(1)
    assert live_model_gauges(tmp_path) == [2]

    end(killed, signal.SIGKILL)

    assert live_model_gauges(tmp_path) == [1]


def test_recycled_children_are_each_counted_once(tmp_path, environment):
    """A pool that makes a new child for each job fills no folder."""
    env = {**os.environ, **environment, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    subprocess.run([sys.executable, "-c", RECYCLES], env=env, check=True)

    assert len(list(tmp_path.glob("*.alive"))) <= 3  # those that nobody was born after
    assert total(tmp_path) == 21
    assert list(tmp_path.glob("*.alive")) == []


def test_killed_compaction_counts_no_process_twice(counting, tmp_path):
    """The link has moved, and the files of the dead are still there."""
    dead = counting(5)
    end(dead, signal.SIGKILL)
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    compact(tmp_path)
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)

    assert total(tmp_path) == 5
    assert total(tmp_path) == 5
    assert list(tmp_path.glob("*_*.db")) == []


def test_scrape_does_not_wait_for_a_frozen_compaction(counting, tmp_path):
    """Whoever folds holds a lock; a reader does without it."""
    import fcntl

    end(counting(5), signal.SIGKILL)
    with (tmp_path / ".fold").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        assert total(tmp_path) == 5

    assert len(list(tmp_path.glob("*.alive"))) == 1  # nobody has folded


def test_scrapes_see_the_same_sum_during_compaction(counting, tmp_path):
    """Eight processes die one after another under two scrapers: the sum never moves."""
    processes = [counting(3) for _ in range(8)]
    seen, stop = [], threading.Event()

    def scrape() -> None:
        while not stop.is_set():
            seen.append(total(tmp_path))

    scrapers = [threading.Thread(target=scrape) for _ in range(2)]
    for scraper in scrapers:
        scraper.start()
    for process in processes:
        end(process, signal.SIGKILL)
        compact(tmp_path)
    stop.set()
    for scraper in scrapers:
        scraper.join()

    assert set(seen) == {24}
    assert total(tmp_path) == 24
