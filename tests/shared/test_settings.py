"""Settings are read once; a bad one stops the process and is named."""

from __future__ import annotations

import re

import pytest

from shared.errors import SettingsError
from shared.settings import Settings
from tests import ROOT

LEAST = {"DATABASE_URL": "postgresql://u:p@h/d", "REDIS_URL": "redis://h"}
SECRET = "0123456789abcdef"


class Recorded(dict):
    """An environment that remembers which variables were asked for."""

    def __init__(self, *args):
        super().__init__(*args)
        self.asked = set()

    def __getitem__(self, name):
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.asked.add(name)
        return super().get(name, default)


def test_the_table_in_the_docs_names_every_setting_and_no_other():
    """docs/operations.md is kept true."""
    env = Recorded(LEAST)
    Settings.from_env(env)
    docs = ROOT / "docs" / "operations.md"
    table = docs.read_text().split("## Settings")[1].split("\n##")[0]

    documented = set(re.findall(r"^\| `([A-Z0-9_]+)`", table, re.MULTILINE))

    assert documented == env.asked | {"PROMETHEUS_MULTIPROC_DIR"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://h/d"),
        ("ML_DEPLOY_THRESHOLD_F1", "72"),
        ("ML_DEPLOY_THRESHOLD_F1", "nan"),
        ("ML_MIN_LABELS", "many"),
        ("WEB_PORT", "99999"),
        ("API_AUTH", "maybe"),
        ("API_TOKENS", f"owner:{SECRET}"),
        ("API_TOKENS", "admin:short"),
        ("LOG_LEVEL", "loud"),
        ("GRAFANA_URL", "javascript:alert(1)"),
        ("SUGGEST_ENABLE_SHADOW", "yes"),
        ("SUGGEST_TARGET_PRECISION", "90"),
        ("SUGGEST_THRESHOLDS", "0.9"),
        ("SUGGEST_THRESHOLDS", '{"Rent": 90}'),
        ("SUGGEST_THRESHOLDS", '{"Rent": NaN}'),
    ],
)
def test_a_bad_value_is_refused_by_name(name, value):
    """The message says which variable, and what was expected."""
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({**LEAST, name: value})


@pytest.mark.parametrize("name", sorted(LEAST))
def test_a_missing_address_is_named(name):
    """Nothing starts with half of its addresses."""
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        Settings.from_env({key: value for key, value in LEAST.items() if key != name})


def test_several_tokens_of_a_scope_can_be_given():
    """So that they can be rotated."""
    tokens = f"admin:{SECRET}, admin:new-{SECRET},predict:p-{SECRET}"

    settings = Settings.from_env({**LEAST, "API_TOKENS": tokens})

    assert [token.scope for token in settings.api_tokens] == ["admin", "admin", "predict"]


def test_secrets_are_not_shown_when_settings_are_printed():
    """A log line or a traceback with the settings gives nothing away."""
    env = {**LEAST, "API_TOKENS": f"admin:{SECRET}", "REDIS_URL": "redis://:hidden@h"}

    shown = repr(Settings.from_env(env))

    assert SECRET not in shown
    assert "hidden" not in shown
    assert "u:p@" not in shown


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({}, "API_TOKENS is not set"),
        ({"API_AUTH": "off", "WEB_HOST": "0.0.0.0"}, "loopback"),
    ],
    ids=["no token", "open to all"],
)
def test_unguarded_api_on_a_public_address_is_refused(env, reason):
    """No default secret, and no open door by accident."""
    with pytest.raises(SettingsError, match=reason):
        Settings.from_env({**LEAST, **env}).require_auth()


@pytest.mark.parametrize(
    "env", [{"API_TOKENS": f"admin:{SECRET}"}, {"API_AUTH": "off"}], ids=["token", "loopback"]
)
def test_api_with_tokens_or_on_localhost_is_served(env):
    """The two ways that are meant."""
    Settings.from_env({**LEAST, **env}).require_auth()
