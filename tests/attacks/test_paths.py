"""Spellings of a path, at every place where a path has an id: none leads to anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from shared.services import Services
from tests.attacks.conftest import Live
from tests.attacks.doors import DECLARED
from tests.attacks.wire import request, send
from tests.support.api import ADMIN, bearer, deploy_a_model

SECRET = "the-secret-beside-the-registry"
UP = (
    "..", ".", "...", "%2e%2e", "%2e.", ".%2e", "%252e%252e", "%25252e%25252e", "..%2f", "..%5c",
    "..\\", "..%00", "..%c0%af", "..%e0%80%af", "..%ef%bc%8f", "%c0%ae%c0%ae",
    "．．", "..;", "..%3b",
    "..%09", "..%20", "%20..", "..%23", "..%3f", "..%0a", "..%0d%0a", "~", "%7e", "..~1",
)  # fmt: skip
TARGETS = ("secret", "etc/passwd", "CURRENT", "deploy/pointer.json", "versions", "pyproject.toml")
SPELLINGS = (
    *UP,
    *(f"{up}%2f{target}" for up in UP for target in TARGETS),
    *(f"{'%2f'.join([up] * 6)}%2f{target}" for up in UP for target in TARGETS),
    *(f"{'..%5c' * 6}{target}" for target in TARGETS),
    "%2fetc%2fpasswd", "%2f%2fetc%2fpasswd", "file:%2f%2f%2fetc%2fpasswd", "C:%5cboot.ini",
    "%5c%5chost%5cshare", "http:%2f%2f127.0.0.1%2f", "%00", "a%00", "%00a", "a%00.json", "%0a",
    "%0d%0aX-Injected: 1", "%e2%80%ae", "%ef%bb%bf", "%f0%9f%92%a9", "%ff", "%fe%ff", "%ed%a0%80",
    "a" * 8_000, "%41" * 3_000, "%", "%2", "%zz", "%u002e", "x;x", "x;/..", "x%3bx", ";",
    "x;jsessionid=1",
    "*", "%2a", "'", "%27%20OR%20%271%27=%271", "x')--", "{{7*7}}", "${jndi:ldap://x}", "$(id)",
    "`id`", "|id", "-1", "0", "1e9", "9" * 500, "NaN", "null", "undefined", "true", "[]", "{}",
    "CON", "aux", "latest", "current", "CURRENT", ".git", ".env", "__init__.py", "x.", "x%20", "X",
)  # fmt: skip


@pytest.fixture
def stored(client: FlaskClient, services: Services, tmp_path: Path) -> str:
    """A registry with a version, and something beside it that nobody may read."""
    (tmp_path / "secret").write_text(SECRET)
    return deploy_a_model(services.engine, services.registry)


def with_ids() -> list[tuple[str, str]]:
    """Each route that takes an id or a name, with its methods."""
    return sorted((*door.split(" ", 1),) for door in DECLARED if "<" in door)  # type: ignore[misc]


@pytest.mark.parametrize(("method", "route"), with_ids(), ids=lambda value: value)
def test_no_spelling_of_an_id_leaves_the_registry_folder(
    client: FlaskClient, services: Services, stored: str, method: str, route: str
) -> None:
    """It is not found or not valid, always, and the live version stays the same."""
    before, after = route.split("<")[0], route.split(">")[1]
    assert len(SPELLINGS) >= 350
    for spelling in SPELLINGS:
        for path in (f"{before}{spelling}{after}", f"{before}x%2f{spelling}{after}"):
            answer = client.open(path, method=method, json={"action": "undo"})

            assert answer.status_code in (400, 404, 405), (path, answer.status_code)
            assert SECRET not in answer.text, path
            assert "root:" not in answer.text, path
            assert "X-Injected" not in answer.headers
    live = services.registry.current()
    assert live is not None
    assert live.run_id == stored


def test_ids_of_different_case_are_different_ids(client: FlaskClient, stored: str) -> None:
    """Also where the file system ignores case."""
    for other in {stored.lower(), stored.upper(), stored.swapcase(), stored.title()} - {stored}:
        assert client.get(f"/ml/v2/models/{other}").status_code == 404
    assert client.get(f"/ml/v2/models/{stored}").status_code == 200


def test_an_id_with_a_suffix_is_another_id(client: FlaskClient, stored: str) -> None:
    """A question mark begins the parameters, so only that one finds it."""
    for ending in ("/", "//", "/.", "/..", ";", ";x", "%20", "%00", ".", "%2f"):
        assert client.get(f"/ml/v2/models/{stored}{ending}").status_code == 404
        assert client.post(f"/ml/v2/models/{stored}{ending}/deploy").status_code == 404
    assert client.get(f"/ml/v2/models/{stored}?/").status_code == 200


def test_server_and_application_decode_paths_alike(live: Live) -> None:
    """Sent as bytes, so no client changes the path; with a token and without."""
    token = f"Authorization: Bearer {ADMIN}"
    close = "Connection: close"
    for spelling in SPELLINGS:
        if not spelling.isascii() or " " in spelling:
            continue
        for route in ("/ml/v2/models/", "/static/"):
            path = f"{route}{spelling}"
            known = send(live.port, request("GET", path, token, close))
            unknown = send(live.port, request("GET", f"/ml/v2/{path}", close))

            assert known.statuses[0] in (400, 404), path
            assert unknown.statuses[0] in (400, 401), path
            assert b"root:" not in known.data
    assert live.call("GET", "/ml/v2/jobs", **bearer(ADMIN)).status == 200
    assert live.broken() == []
