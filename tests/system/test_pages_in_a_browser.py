"""The pages in a real browser, on real processes."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, insert

from local.demo import sample
from shared.db.tables import Transaction
from shared.features.extract import RawTransaction, features_of
from tests.support.browser import LOOKS, a_browser, a_page, offences, photograph
from tests.support.waiting import wait_until
from tests.system.stack import Stack
from worker.statements import importer

pytestmark = pytest.mark.system
HOSTILE = "<img src=x onerror=alert(1)> <script>alert(2)</script>"
PAGES = {
    "dashboard": "/",
    "try": "/try",
    "csv": "/csv",
    "review": "/review",
    "review-by-merchant": "/review?order=merchant",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@pytest.fixture
def base_url(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.port}"


def has_learned(stack: Stack, database: Engine, folder: Path) -> None:
    """A household's rows are there, one of them hostile, and a model is live."""
    file = folder / "household.csv"
    sample.write(file, dt.date(2026, 10, 31))
    importer.import_csv(database, file)
    with database.begin() as connection:
        row = {"date": dt.date(2026, 10, 30), "amount": -5, "currency": "EUR", "user_id": "ada"}
        connection.execute(insert(Transaction).values(merchant=HOSTILE, **row))
    stack.worker("features")
    stack.worker("training")
    stack.web()
    trained = stack.ended(stack.call("POST", "/ml/v2/train").body["job_id"])
    assert trained["result"]["deployed"], trained
    asked = stack.call("POST", "/ml/v2/suggest/history", {"user_id": "ada"})
    stack.ended(asked.body["job_id"])


def test_every_page_is_accessible_and_fits_every_screen(
    stack: Stack, database: Engine, browser: Browser, base_url: str, tmp_path: Path
) -> None:
    """axe finds nothing serious, nothing is wider than a phone, HTML of a bank stays text."""
    has_learned(stack, database, tmp_path)
    found: list[str] = []
    for look in LOOKS:
        with a_page(browser, base_url, look) as page:
            for name, path in PAGES.items():
                page.goto(path)
                page.wait_for_load_state("networkidle")
                if name == "dashboard":
                    expect(page.locator("#figures")).to_contain_text("What people say")
                photograph(page, f"{name}-{look.device}-{look.scheme}")
                found += [f"{name}, {look.device}, {look.scheme}: {it}" for it in offences(page)]
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > look.width:
                    found.append(f"{name}, {look.device}: {wide} px wide")

    with a_page(browser, base_url) as page:
        page.goto("/try")
        page.get_by_label("Merchant").fill(f"STARBUCKS {HOSTILE}")
        page.get_by_label("Amount").fill("-4,20")
        page.get_by_role("button", name="Look").click()
        for part in ("shown", "each layer", "Features", "weighed"):
            expect(page.locator("#answer h2").filter(has_text=part)).to_have_count(1)
        found += offences(page)
        photograph(page, "try-answered-desktop-light")
    assert found == []


BANK = """Date;Payee;Value (EUR);Note
03.05.2026;STARBUCKS 0042;-4,20;card
04.05.2026;<b>SHELL</b> 5744;-54,90;card
05.05.2026;=cmd|' /C calc'!A0;-12,00;card
06.05.2026;ACME GMBH GEHALT;2900,00;salary
07.05.2026;BROKEN ONE;twelve;card
"""


def test_a_file_is_previewed_then_imported_and_downloaded_with_categories(
    stack: Stack, database: Engine, browser: Browser, base_url: str, tmp_path: Path
) -> None:
    (tmp_path / "bank.csv").write_text(BANK)
    stack.web()
    stack.worker("features")
    with a_page(browser, base_url) as page:
        page.goto("/csv")
        expect(page.locator("#kept-files")).to_have_text("None yet.")
        page.set_input_files("input[type=file]", tmp_path / "bank.csv")
        expect(page.locator("#summary")).to_contain_text("5 rows, 1 of them cannot be taken")
        expect(page.locator("#rows")).to_contain_text("out 54.90")
        expect(page.locator("#rows")).to_contain_text("<b>SHELL</b>")
        assert offences(page) == []
        page.get_by_text("Change how it is read").click()
        page.get_by_label("Currency, if no column tells").fill("CHF")
        page.get_by_label("Currency, if no column tells").press("Tab")
        expect(page.locator("#rows")).to_contain_text("out 54.90 CHF")
        photograph(page, "csv-looked-at-desktop-light")
        page.get_by_label("Whose transactions").fill("ada")
        page.get_by_role("button", name="Import it").click()
        expect(page.locator("#result")).to_contain_text("Review the suggestions")
        expect(page.locator("#result")).to_contain_text("Not taken: 1")
        assert offences(page) == []
        photograph(page, "csv-taken-desktop-light")
        with page.expect_download() as coming:
            page.get_by_role("link", name="The file with its categories").click()
        content = Path(coming.value.path()).read_text()

    assert coming.value.suggested_filename == "bank.categorized.csv"
    rows = content.splitlines()
    assert rows[0].endswith("category;confidence;source;reason;your_category;ledger_ref")
    assert "Coffee" in rows[1]
    assert "'=cmd" in rows[3]
    assert "not imported" in rows[5]


SECRET = "a-token-of-this-test-alone"
HIDDEN = {"Coffee", "Fuel", "Groceries"}  # categories that the file does not know yet


def bank_file(rows: list[sample.Row]) -> str:
    """As a bank gives it, with a column that the person filled in, but for HIDDEN."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["Date", "Description", "Amount", "Category"])
    for row in rows:
        label = "" if row.label in HIDDEN else row.label
        writer.writerow([row.date.isoformat(), row.merchant, f"{-row.amount:.2f}", label])
    return text.getvalue()


def true_names(rows: list[sample.Row]) -> dict[str, str]:
    """What each merchant, as the page names it, is."""
    labels_by_merchant: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        raw = RawTransaction(description=row.merchant, amount=-row.amount, date=row.date)
        labels_by_merchant[features_of(raw).merchant][row.label] += 1
    return {
        merchant: labels.most_common(1)[0][0] for merchant, labels in labels_by_merchant.items()
    }


def count_right(stack: Stack, rows: list[sample.Row], run_id: str) -> int:
    """How many of *rows* a version labels right, asked once a web process serves it."""
    body = {"rows": [{"description": row.merchant, "amount": -row.amount} for row in rows]}
    results: list[dict[str, Any]] = []

    def is_served() -> bool:
        results[:] = stack.call("POST", "/ml/v2/predict/batch", body, **TOKEN).body["results"]
        return all(it["available"] and it["model"]["run_id"] == run_id for it in results)

    wait_until(is_served, f"{run_id} is served")
    return sum(it["label"] == row.label for it, row in zip(results, rows, strict=True))


def drop_file(page: Page, name: str, content: str) -> None:
    """Let a file fall onto the page, as a mouse does."""
    carried = page.evaluate_handle(
        """([name, content]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([content], name, { type: "text/csv" }));
            return carried;
        }""",
        [name, content],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": carried})


def train_on_dashboard(page: Page) -> str:
    """Ask for training on the dashboard and wait for the version that goes live."""
    page.get_by_role("link", name="Dashboard").click()
    before = page.locator("#live ~ p code").all_inner_texts()
    page.get_by_role("button", name="Train").click()
    page.get_by_role("button", name="Yes").click()
    live = page.locator("#live ~ p code")
    for old in before:
        expect(live).not_to_have_text(old, timeout=90_000)
    expect(live).to_have_count(1, timeout=90_000)
    return live.inner_text()


TOKEN = {"Authorization": f"Bearer {SECRET}"}


def test_corrections_on_the_page_make_the_second_model_better(
    stack: Stack, database: Engine, browser: Browser, base_url: str
) -> None:
    """Signed in, a file dropped, trained, ten merchants corrected by keyboard alone, trained."""
    rows = [row for row in sample.generate(dt.date(2026, 10, 31)) if row.label][-1500:]
    file, later = rows[:-300], rows[-300:]
    names = true_names(file)
    stack.env |= {"API_AUTH": "on", "API_TOKENS": f"admin:{SECRET}"}
    stack.worker("features")
    stack.worker("training")
    stack.web()
    with a_page(browser, base_url) as page:
        page.goto("/")
        page.get_by_label("Token").fill(SECRET)
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_contain_text("No version is live yet")
        photograph(page, "dashboard-empty-desktop-light")
        page.get_by_role("link", name="a bank's CSV file").click()
        expect(page.locator("#kept-files")).to_have_text("None yet.")  # its script has begun
        drop_file(page, "bank.csv", bank_file(file))
        expect(page.locator("#summary")).to_contain_text("1,200 rows, all can be taken")
        page.get_by_role("button", name="Import it").click()
        expect(page.locator("#result")).to_contain_text("Review the suggestions", timeout=60_000)

        first = train_on_dashboard(page)
        before = count_right(stack, later, first)

        page.get_by_role("link", name="Review").click()
        page.get_by_label("By merchant").check()
        expect(page.locator("#waiting article[aria-current]")).to_contain_text("rows")
        page.keyboard.press("j")
        corrections = 0
        while corrections < 10:
            entry = page.locator("#waiting article[aria-current]")
            expect(entry).to_be_focused()
            suggested = entry.locator(".said strong").inner_text()
            merchant = entry.locator(".merchant").inner_text()
            if suggested == names[merchant]:
                page.keyboard.press("a")
            else:
                page.keyboard.press("c")
                page.keyboard.type(names[merchant])
                page.keyboard.press("Enter")
                corrections += 1
            expect(entry.locator(".merchant")).not_to_have_text(merchant)
        expect(page.locator("#status")).to_contain_text("chosen for")
        photograph(page, "review-desktop-light")

        second = train_on_dashboard(page)
        after = count_right(stack, later, second)
        photograph(page, "dashboard-two-versions-desktop-light")

    assert first != second
    assert after > before + 20
