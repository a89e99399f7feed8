"""What the documents promise is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "SECURITY.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page):
    """No page sends its reader into the void."""
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text())

    missing = [link for link in links if not (page.parent / link).exists()]

    assert missing == []


def test_every_command_of_the_readme_is_a_target_that_help_lists():
    """`make help` and the README tell the same."""
    listed = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text()))

    assert {"demo", "test", "up", "down"} <= named
    assert named - {"help"} <= set(re.findall(r"make ([a-z-]+)", listed))


def test_the_walk_names_modules_that_exist():
    """Whoever follows it finds each step."""
    modules = re.findall(r"`((?:shared|web|worker)/\w+\.py)", (ROOT / "docs/walk.md").read_text())

    assert len(modules) > 10
    assert [name for name in modules if not (ROOT / name).exists()] == []
