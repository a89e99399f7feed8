"""The alerts and dashboards name what is there, and each alert is explained and tested."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess

import pytest
import yaml
from sqlalchemy import func

from grafana import make
from shared.db.engine import transaction
from shared.db.tables import Job
from shared.jobs import heartbeats
from tests.support.api import deploy_a_model
from tests.support.factories import report
from tests.support.prometheus import ROOT, RULES, tool

GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
CASES = sorted((ROOT / "prometheus" / "tests").glob("*.yml"))
RUNBOOK = ROOT / "docs" / "runbook.md"


def expressions():
    """Every query of the rules and the dashboards."""
    yield from (rule["expr"] for group in GROUPS for rule in group["rules"])
    for file in (ROOT / "grafana" / "dashboards").glob("*.json"):
        for panel in json.loads(file.read_text())["panels"]:
            yield from (target["expr"] for target in panel["targets"])


@pytest.fixture
def body(client, services, engine):
    """What /metrics tells once a model is served, a run has ended, and a worker took a probe."""
    run_id = deploy_a_model(engine, services.registry)
    with transaction(engine) as session:
        heartbeats.record(session, "training", dt.datetime.now(dt.UTC))
        result = {"val_f1_macro": 0.9, "deployed": True}
        ended = {"state": "succeeded", "finished_at": func.now(), "result": result}
        session.add(Job(id="a", kind="train", requested_by="test", **ended))
        session.add(report("amount", run_id=run_id, accuracy=0.8))
    services.live_model.check()
    return client.get("/metrics").text


def test_the_rules_are_valid():
    subprocess.run([tool("promtool"), "check", "rules", RULES], check=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_each_alert_fires_in_its_cases_and_not_otherwise(case):
    done = subprocess.run(
        [tool("promtool"), "test", "rules", case], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet():
    """The quiet one begins with nothing having fired: a test of its own."""
    fires, quiet = set(), set()
    for test in (test for case in CASES for test in yaml.safe_load(case.read_text())["tests"]):
        expected = {(it["alertname"], bool(it["exp_alerts"])) for it in test["alert_rule_test"]}
        names = {name for name, _ in expected}
        fires |= {name for name in names if (name, True) in expected}
        quiet |= {name for name in names if (name, True) not in expected}

    assert fires == quiet == {alert["alert"] for alert in ALERTS}


def test_each_alert_leads_to_its_section_of_the_runbook():
    """What it means, the first three commands, how to fix it, how to see that it is over."""
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.M | re.S))

    for alert in ALERTS:
        name = alert["alert"]
        assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
        words = ("**For users:**", "**Look:**", "**Fix:**", "**Over when:**")
        assert [word for word in words if word not in sections[name]] == []
        assert len(re.findall(r"^\$ ", sections[name], re.MULTILINE)) == 3


def test_each_route_of_the_runbook_exists(client):
    routes = client.application.url_map.bind("localhost")
    paths = set(re.findall(r'"\$URL(/[^"?]*)', RUNBOOK.read_text()))

    assert paths
    assert [path for path in paths if not routes.allowed_methods(path)] == []


def test_every_metric_of_rules_and_dashboards_is_exported(body):
    """A name that nothing writes would make an alert that never fires."""
    named = {name for expr in expressions() for name in re.findall(r"\blm_\w+", expr)}
    exported = set(re.findall(r"^(\w+)[{ ]", body, re.MULTILINE))

    assert named <= exported


def test_dashboards_are_generated_by_the_script():
    """Change grafana/make.py, and run it."""
    files = {file.stem: file.read_text() for file in make.HERE.glob("*.json")}

    assert files == {name: make.text(name) for name in make.BOARDS}


def test_documented_metrics_are_the_exported_ones(body):
    """docs/metrics.md is kept true, with type and labels."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(lm_\w+)` \| (\w+) \| (.*?) \|", page, re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    kinds = dict(re.findall(r"^# TYPE (lm_\w+) (\w+)", body, re.MULTILINE))
    labels: dict[str, set[str]] = {name: set() for name in kinds}
    for sample, inside in re.findall(r"^(lm_\w+)\{(.*)\}", body, re.MULTILINE):
        name = sample if sample in kinds else re.sub(r"_(bucket|count|sum)$", "", sample)
        if name in labels:
            labels[name] |= set(re.findall(r"(\w+)=", inside)) - {"le"}

    found = {
        name: (kind, labels[name]) for name, kind in kinds.items() if not name.endswith("_created")
    }
    assert documented == found
