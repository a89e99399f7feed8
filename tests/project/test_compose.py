"""docker-compose.yml: little is open, no secret has a default, and it runs what runs here."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.servers import commands
from local.setup import env_file
from local.stack import configuration
from local.stack.configuration import State
from shared.jobs.broker import celery
from shared.settings import Settings
from tests.support import compose_file
from tests.support.compose_file import EXAMPLE, ROOT, seconds, tool

Service = dict[str, Any]
OURS = {"migrate", "web", "worker", "worker-training", "beat", "flower"}
ALL = OURS | {"postgres", "redis", "proxy", "prometheus", "grafana"}
SECRETS = set(env_file.EMPTY.findall(EXAMPLE.read_text()))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """As the real docker compose reads it."""
    return compose_file.resolve_compose(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> dict[str, Service]:
    return dict(project["services"])


def test_the_services_are_those_that_are_documented(services):
    assert set(services) == ALL
    page = (ROOT / "docs/deploy.md").read_text()
    assert [name for name in ALL if f"`{name}`" not in page] == []


def test_the_file_fits_the_schema_of_compose():
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_without_one_of_its_secrets_nothing_starts_and_the_message_names_it(missing, tmp_path):
    lines = env_file.fill(EXAMPLE.read_text()).splitlines(keepends=True)
    given = tmp_path / "env"
    given.write_text("".join(line for line in lines if not line.startswith(f"{missing}=")))

    done = compose_file.compose("config", "-q", env_file=given)

    assert done.returncode != 0
    assert f"{missing} is missing a value: set it in .env" in done.stderr


def test_no_secret_has_a_default_anywhere():
    """Neither in the file nor in the example that is copied."""
    text = (ROOT / "docker-compose.yml").read_text()

    with_default = re.findall(r"\$\{([A-Z_]+)(?!:\?)[:}-]", text.replace("$${", ""))

    assert set(re.findall(r"\$\{([A-Z_]+):\?", text)) == SECRETS
    assert not SECRETS & set(with_default)
    assert re.search(r"(?i)(password|token|secret)\w*: (?!\$|\S*:\$)[\w'\"]", text) is None


def test_make_env_writes_other_secrets_each_time_for_its_owner_only(tmp_path, monkeypatch):
    """And never touches a file that is there."""
    monkeypatch.setattr(env_file, "ROOT", tmp_path)
    (tmp_path / ".env.example").write_text(EXAMPLE.read_text())
    written = tmp_path / ".env"

    assert env_file.main() == 0
    first = written.read_text()
    assert env_file.main() == 1

    assert written.read_text() == first
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert first != env_file.fill(EXAMPLE.read_text())
    values = dict(line.split("=", 1) for line in first.splitlines() if line[:1].isupper())
    assert set(values) == SECRETS
    assert all(re.fullmatch(r"[A-Za-z0-9_:,-]{32,}", value) for value in values.values())
    tokens = Settings.from_env(
        {"DATABASE_URL": "postgresql://x", "REDIS_URL": "x", "API_TOKENS": values["API_TOKENS"]}
    ).api_tokens
    assert [token.scope for token in tokens] == ["predict", "admin"]


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_service_drops_privileges_and_has_limits(services, name):
    service = services[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].partition(":")[0] not in ("0", "root", "")
    assert service["init"] is True
    assert int(service["mem_limit"]) > 0
    assert float(service["cpus"]) > 0
    assert int(service["pids_limit"]) > 0
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert "/tmp" in str(service["tmpfs"])
    # A name or a fixed port of its own would keep a second one from starting.
    assert "container_name" not in service


@pytest.mark.parametrize("name", sorted(ALL - {"migrate"}))
def test_every_long_running_service_has_a_health_check_and_restarts(services, name):
    service = services[name]

    check = service["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert "curl" not in check["test"]
    assert all(seconds(check[part]) > 0 for part in ("interval", "timeout", "start_period"))
    assert service["restart"] == "unless-stopped"
    assert seconds(service["stop_grace_period"]) >= 15


def test_every_process_waits_for_the_one_migration(services):
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    for name in OURS - {"migrate"}:
        waits_for = services[name]["depends_on"]
        assert waits_for["migrate"]["condition"] == "service_completed_successfully", name


def test_a_stop_leaves_celery_the_time_of_its_soft_shutdown(services):
    """And as long again for what it does after that."""
    for name in ("worker", "worker-training"):
        grace = seconds(services[name]["stop_grace_period"])
        assert grace >= 2 * celery.conf.worker_soft_shutdown_timeout > 0


def test_only_the_api_is_published_to_other_machines(services):
    published = {
        name: {port.get("host_ip") for port in service["ports"]}
        for name, service in services.items()
        if "ports" in service
    }

    assert published.pop("proxy") == {"0.0.0.0"}
    assert set(published) == {"flower", "prometheus", "grafana"}
    assert all(addresses == {"127.0.0.1"} for addresses in published.values())


def test_databases_are_on_internal_networks_only(project, services):
    internal = {name for name, network in project["networks"].items() if network.get("internal")}

    for name in ("postgres", "redis", "migrate", "web", "worker", "worker-training", "beat"):
        assert set(services[name]["networks"]) <= internal, name
    assert set(services["proxy"]["networks"]) & set(services["postgres"]["networks"]) == set()


def test_models_are_writable_for_workers_and_read_only_for_the_web(services):
    """What the web writes is which version is live."""

    def modes(name: str) -> dict[str, bool]:
        return {
            volume["target"].rpartition("/")[2]: volume.get("read_only", False)
            for volume in services[name]["volumes"]
        }

    assert modes("web") == {"versions": True, "deploy": False}
    assert modes("worker") == modes("worker-training") == {"versions": False, "deploy": False}
    registry = compose_file.image_environment()["ML_REGISTRY_DIR"]
    targets = {volume["target"] for volume in services["web"]["volumes"]}
    assert targets == {f"{registry}/versions", f"{registry}/deploy"}


def test_every_variable_of_compose_is_read_by_a_process(services):
    """A misspelt name would be a setting that does nothing."""
    page = (ROOT / "docs/operations.md").read_text()
    known = set(re.findall(r"^\| `([A-Z_0-9]+)` \|", page, re.MULTILINE))
    known.add("FLOWER_BASIC_AUTH")  # Flower's own
    used = set(re.findall(r'"([A-Z][A-Z_0-9]+)"', (ROOT / "shared/settings.py").read_text()))

    for name in OURS:
        assert set(services[name]["environment"]) <= known, name
        ours = {it for it in services[name]["environment"] if it.startswith(configuration.SETTINGS)}
        assert ours <= used, name
        assert ("API_TOKENS" in services[name]["environment"]) == (name == "web")


def test_every_setting_of_the_operator_reaches_the_processes(services):
    """Those of `.env` too; only addresses and folders are the image's own."""
    own = {"ML_REGISTRY_DIR", "WEB_HOST", "WEB_PORT", "API_AUTH"}
    names = set(re.findall(r'"([A-Z][A-Z_0-9]+)"', (ROOT / "shared/settings.py").read_text()))

    assert names - own <= set(services["web"]["environment"])


def test_the_commands_are_those_of_the_local_stack(services):
    """What is tested on one machine is what runs in containers."""
    state = State(
        fingerprint="",
        socket="",
        web_host="127.0.0.1",
        web_port=8000,
        flower_port=5555,
        postgres_port=None,
        redis_port=None,
    )
    places = {
        "%(ENV_LEDGER_PYTHON)s": "python",
        "%%": "%",
        "%(ENV_LEDGER_VAR)s/run/": "/app/state/",
        "%(ENV_LEDGER_VAR)s/": "/app/state/",
        "--address=127.0.0.1": "--address=0.0.0.0",
    }
    expected = {}
    for name, line in configuration.app_commands(state).items():
        for here, there in places.items():
            line = line.replace(here, there)
        expected["worker" if name == "worker-features" else name] = shlex.split(line)
    expected["migrate"] = ["python", "-m", "shared.db", "migrate"]

    assert {name: services[name]["command"] for name in OURS} == expected


def test_redis_options_equal_those_of_the_local_stack(services, tmp_path):
    """Its lines are those of the local server, but for addresses, and the limit on memory."""
    commands.valkey_command(tmp_path / "data", 6379, "$REDIS_PASSWORD")
    local = set((tmp_path / "valkey.conf").read_text().splitlines())
    script = services["redis"]["command"][2]
    lines = set(script.replace("$$", "$").splitlines()[1:-1])

    of_the_machine = ("bind", "port", "dir", "set-proc-title", "always-show-logo")
    assert {it.split(" #")[0] for it in local if not it.startswith(of_the_machine)} <= lines
    assert "maxmemory-policy noeviction" in lines
    assert "appendonly yes" in lines


def test_every_image_has_a_version_and_every_mounted_file_exists(services):
    for name, service in services.items():
        if name in OURS:
            assert service["build"]["context"] == str(ROOT)
            continue
        assert re.search(r":v?\d+\.\d+", service["image"]), name
    mounts = [
        Path(volume["source"])
        for service in services.values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    ]
    assert mounts
    assert [path for path in mounts if not path.exists()] == []


def test_prometheus_finds_every_web_container_by_name(services):
    """The name service gives an address for each, however many there are."""
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}

    found = jobs["web"]["dns_sd_configs"]
    assert found[0]["names"] == ["web"]
    assert found[0]["type"] == "A"
    assert str(found[0]["port"]) == compose_file.image_environment()["WEB_PORT"]
    assert set(services["prometheus"]["networks"]) & set(services["web"]["networks"])
    assert set(services["prometheus"]["networks"]) & set(services["flower"]["networks"])


def test_promtool_accepts_the_configuration():
    done = subprocess.run(
        [tool("promtool"), "check", "config", str(ROOT / "prometheus/prometheus.yml")],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_source_and_its_dashboards_where_they_are_mounted(services):
    folder = ROOT / "grafana/provisioning"
    source = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"][0]
    provider = yaml.safe_load((folder / "dashboards/ledger.yml").read_text())["providers"][0]

    assert source["url"] == "http://prometheus:9090"
    assert set(services["grafana"]["networks"]) & set(services["prometheus"]["networks"])
    mounts = {volume["target"]: volume for volume in services["grafana"]["volumes"]}
    assert mounts[provider["options"]["path"]]["source"] == str(ROOT / "grafana/dashboards")
