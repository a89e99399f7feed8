"""The list of licences is that of the lock, and none of them binds who runs the service."""

from __future__ import annotations

import re

from tests.support.compose_file import ROOT

LISTED = re.compile(r"^\| (\S+) +\| (.+?) +\|$", re.MULTILINE)
LOCKED = re.compile(r"^([a-z0-9-]+)==[^ ;]+( ;)?", re.MULTILINE)


def listed() -> dict[str, str]:
    """Packages by their normal names, with their licences."""
    found = LISTED.findall((ROOT / "docs/licences.md").read_text())
    return {re.sub(r"[-_.]+", "-", name.lower()): licence for name, licence in found[1:]}


def test_every_locked_package_is_listed() -> None:
    """`make licences` writes it anew; what only some systems have may be missing."""
    locked = LOCKED.findall((ROOT / "requirements/runtime.lock").read_text())

    assert len(listed()) >= 50
    assert {name for name, elsewhere in locked if not elsewhere} - set(listed()) == set()
    assert set(listed()) - {name for name, _ in locked} == set()


def test_every_licence_is_known_and_permissive() -> None:
    """The LGPL is one that a package apart can have."""
    for name, licence in listed().items():
        assert "UNKNOWN" not in licence, name
        assert not re.search(r"(?<!L)(?<!Lesser )\b(A?GPL|SSPL|General Public)", licence), name
