"""What a person does on the pages that nobody planned for, in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, FilePayload, Page, Route, expect
from werkzeug.serving import make_server

from shared.db.engine import transaction
from shared.jobs import store as job_store
from shared.jobs.store import Claim
from shared.services import Services
from tests.shared.suggestions.test_review_queue import (
    add_suggestion,
    add_transactions,
    answer_suggestions,
    labels,
)
from tests.support.browser import Look, a_browser, a_page
from tests.web.transactions.test_imports import BANK, claimed, count
from web.app import create_app
from worker.execution.lease import Lease
from worker.execution.runner import Outcome, run
from worker.statements import import_job

FILE: FilePayload = {"name": "BANK.CSV", "mimeType": "text/csv", "buffer": BANK.encode()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@pytest.fixture
def url(services: Services) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, create_app(services), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def add_suggestions(services: Services, rows: int) -> list[str]:
    found = []
    for at in range(rows):
        (txn_id,) = add_transactions(services, f"SHOP {at}")
        found.append(
            add_suggestion(services, txn_id, at / 100, label="Food", merchant=f"shop {at}")
        )
    return found


def open_review(page: Page) -> None:
    page.goto("/review")
    page.locator("#waiting article[aria-current]").focus()


def preview_file(page: Page) -> None:
    page.goto("/csv")
    page.set_input_files("input[type=file]", FILE)
    expect(page.get_by_role("button", name="Import it")).to_be_enabled()
    page.get_by_text("Change how it is read").click()


def start_import(page: Page) -> str:
    """The id of the job that the button asks for."""
    # The page lists the imports, too, by a GET of the same address.
    with page.expect_response(
        lambda it: it.url.endswith("/ml/v2/imports") and it.request.method == "POST"
    ) as asked:
        page.get_by_role("button", name="Import it").click()
    job_id: str = asked.value.json()["job_id"]
    return job_id


def test_holding_a_key_down_answers_only_one_row(
    browser: Browser, url: str, services: Services
) -> None:
    add_suggestions(services, 4)
    with a_page(browser, url) as page:
        open_review(page)
        for _ in range(4):
            page.keyboard.down("Enter")
        page.keyboard.up("Enter")
        expect(page.locator("#count")).to_have_text("3 left · 1 decision made")

    assert list(labels(services).values()) == [("Food", "human")]


def test_answer_given_in_another_window_is_not_overwritten(
    browser: Browser, url: str, client: FlaskClient, services: Services
) -> None:
    first, _ = add_suggestions(services, 2)
    with a_page(browser, url) as page:
        open_review(page)
        answer_suggestions(client, [first], "correct", label="Toys")
        page.keyboard.press("a")
        expect(page.locator("#status")).to_contain_text("answered meanwhile")
        expect(page.locator("#waiting article")).to_have_count(1)
        expect(page.locator("#count")).to_have_text("1 left · 0 decisions made")

    assert list(labels(services).values()) == [("Toys", "human")]


def test_failed_undo_can_be_repeated(browser: Browser, url: str, services: Services) -> None:
    add_suggestions(services, 2)
    body = '{"items": [{"error": {"detail": "PostgreSQL does not answer"}}]}'
    answers = ["it does", body, "it does"]

    def answer(route: Route) -> None:
        response_body = answers.pop(0)
        route.fulfill(body=response_body) if response_body == body else route.continue_()

    with a_page(browser, url) as page:
        page.route(
            "**/ml/v2/review", answer
        )  # from the start: the browser takes a while to heed it
        open_review(page)
        page.keyboard.press("a")
        expect(page.locator("#status")).to_contain_text("accepted")
        page.keyboard.press("u")
        expect(page.locator("#status")).to_have_text("PostgreSQL does not answer")
        page.keyboard.press("u")
        expect(page.locator("#count")).to_have_text("2 left · 0 decisions made")

    assert labels(services) == {}


def test_unreadable_queue_is_not_shown_as_empty(
    browser: Browser, url: str, services: Services
) -> None:
    add_suggestions(services, 1)
    with a_page(browser, url) as page:
        body = '{"items": [], "groups": [], "next": null, "left": "?'
        page.route("**/ml/v2/review?*", lambda route: route.fulfill(body=body))
        page.goto("/review")
        expect(page.locator("#status")).not_to_be_empty()
        expect(page.locator("#nothing")).to_be_hidden()


def test_user_with_an_empty_queue_sees_no_rows_of_other_users(
    browser: Browser, url: str, services: Services
) -> None:
    add_suggestions(services, 1)  # ada's
    with a_page(browser, url) as page:
        page.goto("/review?user_id=bob")
        expect(page.locator("#nothing")).to_be_visible()
        expect(page.locator("#waiting article")).to_have_count(0)


def test_long_categories_fit_a_phone(browser: Browser, url: str, services: Services) -> None:
    (txn_id,) = add_transactions(services, "SHOP")
    add_suggestion(services, txn_id, 0.1, label="Hairdressers and " * 4 + "W" * 12)
    with a_page(browser, url, Look("phone", 360, 640, "light")) as page:
        open_review(page)
        page.keyboard.press("c")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_enter_in_an_option_field_does_not_import_the_file(
    browser: Browser, url: str, services: Services
) -> None:
    with a_page(browser, url) as page:
        preview_file(page)
        page.get_by_label("Currency, if no column tells").fill("CHF")
        with page.expect_response("**/ml/v2/imports/look"):
            page.keyboard.press("Enter")
        expect(page.locator("#rows")).to_contain_text("CHF")
        expect(page.get_by_role("button", name="Import it")).to_be_enabled()

    assert (count(services, "imports"), count(services, "jobs")) == (0, 0)


def test_options_of_one_file_are_not_applied_to_the_next(
    browser: Browser, url: str, services: Services
) -> None:
    with a_page(browser, url) as page:
        preview_file(page)
        page.get_by_label("Sign").select_option("spend-positive")
        with page.expect_response("**/ml/v2/imports/look"):
            page.set_input_files("input[type=file]", {**FILE, "name": "next.csv"})
        assert page.get_by_label("Sign").input_value() == ""


def test_cancelled_import_says_that_its_rows_are_stored(
    browser: Browser, url: str, services: Services
) -> None:
    with a_page(browser, url) as page:
        preview_file(page)
        job_id = start_import(page)
        expect(page.locator("#phase")).to_have_text("waits for a worker")
        page.route(f"**/jobs/{job_id}", lambda route: route.fulfill(body="{"))
        expect(page.locator("#status")).to_contain_text("asking again")
        page.unroute(f"**/jobs/{job_id}")
        expect(page.locator("#status")).to_be_empty()

        def cancelled_once_stored(own: Services, claim: Claim, lease: Lease) -> Outcome:
            outcome = import_job.import_upload(own, claim, lease)
            with transaction(own.engine) as session:
                job_store.cancel(session, job_id)
            return outcome

        run(services, claimed(services, job_id), cancelled_once_stored)
        expect(page.locator("#result")).to_contain_text("its rows are stored")
        expect(page.get_by_role("link", name="The file with its categories")).to_be_visible()
        with page.expect_download() as loaded:
            page.get_by_role("link", name="The file with its categories").click()
        assert loaded.value.suggested_filename == "BANK.categorized.csv"

    assert count(services, "transactions") == 5


def test_import_cancelled_on_the_page_stores_nothing(
    browser: Browser, url: str, services: Services
) -> None:
    with a_page(browser, url) as page:
        preview_file(page)
        start_import(page)
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.locator("#result")).to_have_text("It was cancelled: nothing was stored.")
        expect(page.locator("#kept-files")).to_contain_text("not imported")

    assert count(services, "transactions") == 0
