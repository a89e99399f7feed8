"""Bodies that are not as they should be."""

from __future__ import annotations

import io

import pytest

from web.app import BODY_MAX_BYTES


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"merchan": "X"}, "merchan"),
        ({"amount": "12"}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 1e300}, "amount"),
        ({"date": "23/11/2026"}, "date"),
        ({"dow": 7}, "dow"),
        ({"merchant": "a\x00b"}, "merchant"),
        ({"merchant": "x" * 1001}, "merchant"),
        ({"txn_id": 1, "merchant": "X"}, "merchant"),
        ({"is_weekend": "yes"}, "is_weekend"),
    ],
)
def test_bad_input_is_400_and_names_the_field(client, body, field):
    """And says what was expected, without repeating what was sent."""
    response = client.post("/ml/v2/predict", json=body)

    assert response.status_code == 400
    assert response.mimetype == "application/problem+json"
    assert response.json["code"] == "invalid_input"
    assert [error["field"] for error in response.json["errors"]] == [field]


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"amount": NaN}', "application/json", 400),
        (b'{"amount": 1e999}', "application/json", 400),
        (b'{"merchant": "\\ud800"}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"", "application/json", 400),
        (b"merchant=X", "application/x-www-form-urlencoded", 415),
        (b"{}", None, 415),
        (b" " * (4 * 1024 * 1024 + 1), "application/json", 413),
    ],
    ids=["cut", "nan", "huge", "surrogate", "not utf-8", "deep", "empty", "form", "no type", "big"],
)
def test_body_that_is_not_json_is_refused(client, data, content_type, status):
    """With the status that says what is wrong, never a 500."""
    response = client.post("/ml/v2/predict", data=data, content_type=content_type)

    assert response.status_code == status
    assert response.mimetype == "application/problem+json"


def test_more_than_a_thousand_rows_are_413(client):
    """413, as for a body that is too large."""
    response = client.post("/ml/v2/predict/batch", json={"rows": [{}] * 1001})

    assert response.status_code == 413


def test_too_large_body_without_content_length_is_413(client):
    """Streamed bodies are cut at the limit by the server's reader; a cut body is no body."""
    response = client.post(
        "/ml/v2/predict",
        input_stream=io.BytesIO(b"{}" + b" " * BODY_MAX_BYTES + b"nonsense"),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )

    assert response.status_code == 413
    assert response.json["code"] == "too_large"


@pytest.mark.parametrize("date", ["1767312000", "20260102", "2026-01-02T00:00:00", "2026-02-30"])
def test_date_in_another_form_than_year_month_day_is_refused(client, date):
    """In that one form: a number in quotes is no date."""
    response = client.post("/ml/v2/predict", json={"date": date})

    assert response.status_code == 400
    assert [error["field"] for error in response.json["errors"]] == ["date"]
