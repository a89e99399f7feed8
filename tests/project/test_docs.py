"""Links, commands, modules and examples in the documentation exist."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests import ROOT

PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page):
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text())

    missing = [link for link in links if not (page.parent / link).exists()]

    assert missing == []


def test_every_command_of_the_readme_is_listed_by_make_help():
    listed = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text()))

    assert {"demo", "test", "up", "down"} <= named
    assert named - {"help"} <= set(re.findall(r"make ([a-z-]+)", listed))


@pytest.mark.parametrize("page", ["walk.md", "glossary.md"])
def test_modules_that_a_page_names_exist(page):
    modules = re.findall(
        r"`((?:shared|web|worker)/[\w/]+\.py)`", (ROOT / "docs" / page).read_text()
    )

    assert len(modules) > 10
    assert [name for name in modules if not (ROOT / name).exists()] == []


def test_each_json_example_of_the_readme_is_complete():
    """A reader can copy it: nothing is left out by dots."""
    examples = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    assert examples
    for example in examples:
        json.loads(example)


def test_images_of_the_pages_are_small():
    images = [*(ROOT / "docs/images").iterdir()]

    assert images
    assert [image.name for image in images if image.stat().st_size > 200_000] == []
