"""What stands in the way before anything is attacked: secrets, headers, cookies."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from local.setup.env_file import fill
from shared.errors import SettingsError
from shared.settings import Settings
from tests.attacks.doors import doors
from tests.support.api import ADMIN, bearer
from tests.support.compose_file import ROOT

ADDRESSES = {"DATABASE_URL": "postgresql://u:p@h/d", "REDIS_URL": "redis://h"}
EXAMPLE = (ROOT / ".env.example").read_text()
WEAK = {
    "none": "",
    "only spaces": "  , ,",
    "no secret": "admin:",
    "the word of the docs": "predict:SECRET,admin:SECRET",
    "short": "admin:fifteen-letter!",
    "one letter": f"admin:{'a' * 40}",
    "a usual word": "admin:changemechangeme",
    "a usual word, larger": "admin:ChangeMeChangeMe",
    "one for both scopes": "admin:0123456789abcdefghi,predict:0123456789abcdefghi",
    "no scope": "0123456789abcdefghijklmnop",
    "another scope": "root:0123456789abcdefghijklmnop",
    "letters of no alphabet": "admin:пароль-пароль-пароль",
    "a line break in it": "admin:0123456789abc\ndefghijkl",
}


@pytest.mark.parametrize("tokens", WEAK.values(), ids=WEAK)
def test_the_service_does_not_start_with_weak_tokens(tokens: str) -> None:
    """Missing, short, taken from the example, or easily guessed."""
    with pytest.raises(SettingsError, match="API_TOKENS"):
        Settings.from_env({**ADDRESSES, "API_TOKENS": tokens}).require_auth()


def test_the_server_refuses_a_weak_token_without_printing_it() -> None:
    """One line on standard error, which may be stored."""
    done = subprocess.run(
        [sys.executable, "-m", "web"],
        env={**ADDRESSES, "API_TOKENS": "admin:hunter2", "PATH": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("web: API_TOKENS")
    assert "hunter2" not in done.stderr + done.stdout


def test_the_example_has_no_secret_and_generated_ones_cannot_be_guessed() -> None:
    """Each is new, and has 43 characters of 6 bits."""
    names = re.findall(r"^([A-Z_]+)=", EXAMPLE, re.MULTILINE)
    drawn = [fill(EXAMPLE) for _ in range(50)]
    secrets = [value for text in drawn for value in re.findall(r"[A-Za-z0-9_-]{43}", text)]

    assert re.findall(r"^[A-Z_]+=.+$", EXAMPLE, re.MULTILINE) == []
    assert len(set(secrets)) == len(secrets) == 50 * (len(names) + 1)  # two of them are tokens
    for text in drawn:
        tokens = re.search(r"^API_TOKENS=(.*)$", text, re.MULTILINE)
        assert tokens
        assert len(Settings.from_env({**ADDRESSES, "API_TOKENS": tokens[1]}).api_tokens) == 2


def test_every_answer_has_strict_headers(token_client: FlaskClient) -> None:
    """On all routes and methods, with and without a token: no frames, and no foreign scripts."""
    for door in doors(token_client.application):
        for headers in ({}, bearer(ADMIN)):
            answer = token_client.open(door.path, method=door.method, headers=headers)
            policy = answer.headers["Content-Security-Policy"]

            assert answer.headers["X-Content-Type-Options"] == "nosniff", door
            assert policy.startswith("default-src 'none'"), door
            assert not re.search(r"script-src[^;]*(unsafe|\*|https?:|data:)", policy), door
            if answer.mimetype != "image/svg+xml":
                assert "frame-ancestors 'none'" in policy, door
            if not door.path.startswith(("/static/", "/docs/")):
                assert answer.headers["Cache-Control"] == "no-store", door
            assert "Access-Control-Allow-Origin" not in answer.headers, door
            assert answer.headers["X-Frame-Options"] == "DENY", door


def test_a_wrong_token_at_sign_in_gets_always_the_same_answer(token_client: FlaskClient) -> None:
    """Whatever is wrong with it; no cookie is set."""
    guesses = ["", "x", ADMIN[:-1], ADMIN + " ", ADMIN.upper(), "a" * 4_000, "\ud800", "ä"]
    answers = [
        token_client.post("/sign-in", data=f"token={guess}".encode("utf-8", "surrogatepass"),
                     content_type="application/x-www-form-urlencoded")
        for guess in guesses
    ]  # fmt: skip

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.data for answer in answers}) == 1
    assert not [answer for answer in answers if "Set-Cookie" in answer.headers]


def test_stored_models_cannot_run_code() -> None:
    """Neither pickle nor anything like it is imported anywhere in the service."""
    names = "pickle|joblib|dill|cloudpickle|skops|marshal|shelve"
    kin = re.compile(rf"^\s*(?:from|import)\s+({names})\b", re.MULTILINE)
    sources = [
        file for folder in ("shared", "web", "worker") for file in Path(ROOT, folder).rglob("*.py")
    ]

    assert len(sources) > 80
    assert [file.name for file in sources if kin.search(file.read_text())] == []
