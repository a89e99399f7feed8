"""The production shape without an engine: the services of docker-compose.yml, side by side.

What only an engine can show, that the image builds and its networks are closed, is the part of
the workflow ci.yml.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import AuthenticationError, Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine, text

from local.servers import binaries
from shared.jobs.broker import celery
from tests.support import compose_file
from tests.support.compose_file import ROOT, tool
from tests.support.factories import add_transactions
from tests.support.waiting import wait_until
from tests.system.containers import Container, Containers
from tests.system.name_service import names
from tests.system.stack import Stack, callers, free_port

pytestmark = pytest.mark.system
ONCE = Retry(NoBackoff(), 0)
SHOP = {"merchant": "BEAN HOUSE #7", "amount": -4.5}
WRITES = "from pathlib import Path; import sys; Path(sys.argv[1], 'x').write_text('x')"


@pytest.fixture
def project(tmp_path: Path) -> dict[str, object]:
    return compose_file.resolve_compose(tmp_path)


@pytest.fixture
def containers(project, stack: Stack, tmp_path: Path) -> Iterator[Containers]:
    """Nothing runs yet; databases and ports are this test's own."""
    own = {
        "DATABASE_URL": stack.env["DATABASE_URL"],
        "REDIS_URL": stack.env["REDIS_URL"],
        "FLOWER_PORT": str(free_port()),
    }
    made = Containers(project, tmp_path, own)
    yield made
    made.close()


@pytest.fixture
def admin(project) -> dict[str, str]:
    """The headers of a caller with the admin's token of this project's `.env`."""
    tokens = project["services"]["web"]["environment"]["API_TOKENS"]
    return {"Authorization": f"Bearer {re.search('admin:(.*)', tokens)[1]}"}


def web(containers: Containers, stack: Stack, number: int = 1) -> Container:
    """A web container; containers have addresses of their own, so these have one each too."""
    host = {"WEB_HOST": f"127.0.0.{number}", "WEB_PORT": str(stack.port)}
    started = containers.start("web", f"web-{number}", **host)
    wait_until(lambda: stack.alive(f"127.0.0.{number}"), f"web-{number} answers")
    return started


def test_the_services_work_scale_and_stop_within_their_grace(
    containers, stack, database, admin, record_testsuite_property
):
    """Jobs are done end to end; three workers and two web containers share the work."""
    add_transactions(database, 300, labelled=250)
    assert containers.run("migrate") == 0
    running = [containers.start(name) for name in ("worker", "worker-training", "beat", "flower")]
    running.append(web(containers, stack))
    port = {"WEB_PORT": str(stack.port)}
    containers.wait_until_healthy(running, **port)

    assert stack.call("POST", "/ml/v2/train").status == 401
    features = stack.call("POST", "/ml/v2/features", {"all": True}, **admin)
    stack.ended(features.body["job_id"], **admin)
    trained = stack.ended(stack.call("POST", "/ml/v2/train", **admin).body["job_id"], **admin)
    run_id = trained["result"]["run_id"]
    with database.connect() as connection:  # the beat may have built some
        assert connection.scalar(text("SELECT count(*) FROM ml_features")) == 300
    assert trained["result"]["deployed"], trained

    running += [containers.start("worker", f"worker-{number}") for number in (2, 3)]
    running.append(web(containers, stack, 2))
    containers.wait_until_healthy(running[-3:-1])
    for address in ("127.0.0.1", "127.0.0.2"):
        wait_until(
            lambda address=address: (
                stack.call("POST", "/ml/v2/predict", SHOP, address=address, **admin)
                .body.get("model", {})
                .get("run_id")
                == run_id
            ),
            f"the web container at {address} has the model",
        )
    # The web moves the pointer, though it cannot write a model.
    why = {"why": "to see that it can"}
    assert stack.call("POST", f"/ml/v2/models/{run_id}/deploy", why, **admin).status == 200
    if containers.shut_in:
        versions = "/app/models/ledger_suggestions/versions"
        assert containers.run("worker", "python", "-c", WRITES, versions) == 0
        assert containers.run("web", "python", "-c", WRITES, versions) != 0
        for closed in ("/app", "/app/shared", "/usr", "/"):
            assert containers.run("worker", "python", "-c", WRITES, closed) != 0
        assert containers.run("web", "python", "-c", WRITES, "/tmp") == 0

    used = {container.host: containers.uses(container) for container in running}
    for container in running:
        for limit, most in containers.limits(container).items():
            assert used[container.host][limit] < most / 2, (container.host, used)
    record_testsuite_property("used", used)

    with database.connect() as blocker:  # a job that cannot go on is in a worker's hands
        blocker.execute(text("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE"))
        stuck = stack.call("POST", "/ml/v2/features", {"all": True}, **admin).body["job_id"]
        wait_until(lambda: stack.job(stuck, **admin)["state"] == "running", "the job is at work")
        took = stop(running)
    record_testsuite_property("seconds to stop", took)
    busy = [host for host in took if took[host] >= celery.conf.worker_soft_shutdown_timeout]
    assert len(busy) == 1
    assert busy[0] in ("worker-1", "worker-2", "worker-3")

    containers.start("worker")
    wait_until(lambda: state(database, stuck) == "succeeded", "the next worker does that job")


def state(database: Engine, job_id: str) -> str:
    with database.connect() as connection:
        row = connection.execute(text("SELECT state FROM jobs WHERE id = :id"), {"id": job_id})
        return str(row.scalar_one())


def stop(running: list[Container]) -> dict[str, float]:
    """End all at once as an engine does; the seconds that each took, none more than its grace."""
    asked_at = time.monotonic()
    for container in running:
        container.main.send_signal(container.stop_signal)
    with ThreadPoolExecutor(len(running)) as pool:
        took = pool.map(lambda container: container.ended_within_grace(asked_at), running)
        return dict(zip([container.host for container in running], took, strict=True))


def test_the_redis_command_of_compose_gives_a_durable_broker_with_a_password(project, tmp_path):
    """Its append-only file is read again, and nothing is evicted."""
    port = free_port()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/valkey-server").symlink_to(binaries.valkey_server())
    (tmp_path / "data").mkdir()
    shell, option, script = project["services"]["redis"]["command"]
    password = project["services"]["redis"]["environment"]["REDIS_PASSWORD"]
    script = script.replace("$$", "$").replace(
        "dir /data", f"dir {tmp_path}/data\nport {port}\nbind 127.0.0.1"
    )

    def ping() -> bool:
        try:
            return bool(client.ping())
        except RedisError:
            return False

    for start in (1, 2):
        server = subprocess.Popen(
            [shell, option, script],
            env={"PATH": f"{tmp_path}/bin:{os.defpath}", "REDIS_PASSWORD": password},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            client = Redis(port=port, password=password, decode_responses=True, retry=ONCE)
            wait_until(ping, "the broker answers")
            settings = client.config_get("append*", "maxmemory*", "save")
            assert settings["appendonly"] == "yes"
            assert settings["appendfsync"] == "everysec"
            assert settings["maxmemory-policy"] == "noeviction"
            assert settings["maxmemory"] == str(256 << 20)
            assert settings["save"] == ""
            assert client.incr("starts") == start
            with pytest.raises(AuthenticationError):
                Redis(port=port, retry=ONCE).ping()
        finally:
            server.terminate()
            assert server.wait(60) == 0


def test_the_proxy_spreads_requests_and_loses_none_when_a_web_container_stops(
    project, containers, stack, database, admin, tmp_path
):
    """It learns the containers' addresses from a name service, as in an engine."""
    both = [web(containers, stack, number) for number in (1, 2)]
    with proxy(project, stack, tmp_path, ["127.0.0.1", "127.0.0.2"], unknown=100_000) as public:
        usual_s = twenty_answers(public)
        with slow_senders(public, 100):  # many more than the web containers have threads
            assert twenty_answers(public) < max(5, 3 * usual_s)
        with callers(4, lambda: status(public)) as answers:
            wait_until(
                lambda: all(count_answers(stack, it) > 20 for it in (1, 2)), "both are asked"
            )
            took = stop(both[1:])
            at_the_stop = len(answers)
            wait_until(lambda: len(answers) > at_the_stop + 200, "the other one goes on")
        assert set(answers) == {200}
        assert took["web-2"] < both[1].grace_s
        stop(both[:1])
        with pytest.raises(urllib.error.HTTPError) as none_left:
            urllib.request.urlopen(f"http://127.0.0.1:{public}/healthz", timeout=5)
        assert none_left.value.code == 503
        assert none_left.value.headers["Retry-After"] == "2"
        assert none_left.value.headers["Content-Type"] == "application/problem+json"


def test_the_proxy_limits_each_token_and_all_requests_without_one(
    project, containers, stack, database, admin, tmp_path
):
    """Too many requests or guesses get 429; another valid token is not affected."""
    web(containers, stack)
    tokens = project["services"]["web"]["environment"]["API_TOKENS"]
    other = {"Authorization": f"Bearer {re.search('predict:([^,]*)', tokens)[1]}"}

    with proxy(project, stack, tmp_path, ["127.0.0.1"], token=30, unknown=20) as public:

        def models(token: Mapping[str, str]) -> int:
            return status(public, "/ml/v2/models", token)

        assert models(admin) == models(other) == 200
        guessed = [models({"Authorization": f"Bearer guess-{n}-0123456789"}) for n in range(30)]
        # A wrong token is not taken for a good one because a page that is open was shown.
        opened = {status(public, "/healthz", {"Authorization": "Bearer x"}) for _ in range(5)}
        spellings = [
            {"Authorization": it.replace(" ", " " * (n % 3 + 1))}
            for n, it in enumerate([*admin.values()] * 40)
        ]
        asked_by_one = [models(spelling) for spelling in spellings]

        assert guessed[:10] == [401] * 10
        assert guessed[-5:] == [429] * 5
        assert opened == {429}
        assert asked_by_one[:25] == [200] * 25
        assert asked_by_one[-5:] == [429] * 5
        assert models(other) == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{public}/", timeout=5)
        assert refused.value.headers["Retry-After"] == "10"
        assert json.load(refused.value)["code"] == "too_many_requests"


@contextlib.contextmanager
def proxy(project, stack, folder: Path, addresses: list[str], **limits: int) -> Iterator[int]:
    """A real HAProxy with the configuration of the file, and other limits; its port."""
    public = free_port()
    env = project["services"]["proxy"]["environment"]
    assert set(env) == {"API_RATE_LIMIT", "API_RATE_LIMIT_UNKNOWN"}
    env |= {"API_RATE_LIMIT_UNKNOWN": str(limits["unknown"])}
    env |= {"API_RATE_LIMIT": str(limits.get("token", env["API_RATE_LIMIT"]))}
    with names({"web": addresses}) as name_service:
        config = (ROOT / "deploy/haproxy.cfg").read_text()
        for ours, here in (
            ("bind :8000", f"bind 127.0.0.1:{public}"),
            ("web:8000", f"web:{stack.port}"),
            ("parse-resolv-conf", f"nameserver here 127.0.0.1:{name_service}"),
        ):
            assert config.count(ours) == 1
            config = config.replace(ours, here)
        (folder / "haproxy.cfg").write_text(config)
        process = subprocess.Popen([tool("haproxy"), "-f", folder / "haproxy.cfg"], env=env)
        try:
            wait_until(lambda: status(public) == 200, "the proxy answers")
            yield public
        finally:
            process.send_signal(signal.SIGUSR1)
            assert process.wait(60) == 0


@contextlib.contextmanager
def slow_senders(port: int, count: int) -> Iterator[None]:
    """*count* connections that have sent one byte of a body, and send no more."""
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000"
    begun = b"POST /sign-in HTTP/1.1\r\nHost: x\r\n" + form + b"\r\n\r\nt"
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            one.sendall(begun)
        yield


def twenty_answers(port: int) -> float:
    """Seconds until so many requests, one after the other, have been answered well."""
    started = time.monotonic()
    assert [status(port) for _ in range(20)] == [200] * 20
    return time.monotonic() - started


def status(port: int, path: str = "/healthz", headers: Mapping[str, str] | None = None) -> int:
    """Of an answer; 0 if there was none."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def count_answers(stack: Stack, number: int) -> float:
    """How many requests a web container has answered."""
    url = f"http://127.0.0.{number}:{stack.port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        found = re.findall(
            r'lm_http_requests_total{route="/healthz".*} (.*)', answer.read().decode()
        )
    return sum(map(float, found))
