"""A real browser for a test: Chromium, driven by Playwright, judged by axe."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

WAIT_MS = 60_000  # for anything on a page; it only ends a test that would never end
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Look(NamedTuple):
    """How a page is looked at."""

    device: str
    width: int
    height: int
    scheme: str


LOOKS = tuple(
    Look(device, width, height, scheme)
    for device, width, height in (("desktop", 1280, 900), ("phone", 360, 740))
    for scheme in ("light", "dark")
)


def chromium() -> str:
    """Its path; without it the test is skipped, and says so."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("Chromium is not installed: the pages are UNTESTED (apt-get install chromium)")
    return found


@contextlib.contextmanager
def a_browser() -> Iterator[Browser]:
    """Chromium without a window; it ends with the block."""
    path = chromium()
    with sync_playwright() as playwright:
        # Its own sandbox needs rights that containers and root do not have.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            expect.set_options(timeout=WAIT_MS)
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def a_page(browser: Browser, base_url: str, look: Look = LOOKS[0]) -> Iterator[Page]:
    """A page in a profile of its own, far from UTC; any complaint of the browser fails the test."""
    context = browser.new_context(
        base_url=base_url,
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,  # type: ignore[arg-type]  # light or dark
        locale="en-GB",
        timezone_id="Asia/Kathmandu",
        accept_downloads=True,
    )
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    yield page
    context.close()
    assert complaints == []


def offences(page: Page) -> list[str]:
    """What axe finds on the page that is serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{it['id']} ({it['impact']}): {node['html'][:200]}"
        for it in found
        if it["impact"] in ("serious", "critical")
        for node in it["nodes"]
    ]


def photograph(page: Page, name: str) -> None:
    """Keep a picture of the whole page in the folder SCREENSHOTS, if there is one."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
