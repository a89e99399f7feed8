"""A body that ends before it is whole, as when its sender dies, does nothing."""

from __future__ import annotations

import pytest

from tests.attacks.conftest import Live
from tests.attacks.wire import request, send
from tests.support.api import ADMIN, PREDICT, bearer

TOKEN = f"Authorization: Bearer {ADMIN}"
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
TWO_RULES = b"rules:\n- label: Coffee\n  merchant: bean\n- label: Rent\n  merchant: letting\n"
ONE_RULE = TWO_RULES[: TWO_RULES.index(b"- label: Rent")]
YAML = "Content-Type: application/yaml"


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


def jobs(live: Live) -> list[str]:
    listed = live.call("GET", "/ml/v2/jobs", **bearer(ADMIN)).body["jobs"]
    return [job["job_id"] for job in listed]


FILE = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    b"date,amount,merchant\n2026-05-02,-4.50,KIOSK\n"
)
CUT = {
    "a file": (
        "POST",
        "/ml/v2/imports",
        ["Content-Type: multipart/form-data; boundary=b", f"Content-Length: {len(FILE) + 9}"],
        FILE,
    ),
    "rules": ("PUT", "/ml/v2/rules?user_id=cut", [YAML, length(TWO_RULES)], ONE_RULE),
    "rules, nothing of them": ("PUT", "/ml/v2/rules?user_id=cut", [YAML, length(TWO_RULES)], b""),
    "training, no word of how": (
        "POST",
        "/ml/v2/train",
        [JSON, length(b'{"deploy":"never"}')],
        b"",
    ),
    "a rollback": ("POST", "/ml/v2/model/rollback", [JSON, length(b'{"why": "x"}')], b""),
    "a prediction": ("POST", "/ml/v2/predict", [JSON, "Content-Length: 100"], b'{"merchant": "A"}'),
}


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
def test_a_body_that_is_cut_short_is_refused(
    live: Live, cut: tuple[str, str, list[str], bytes]
) -> None:
    method, path, headers, body = cut
    before = jobs(live)

    response = send(live.port, request(method, path, TOKEN, *headers, body=body), half_close=True)

    assert response.statuses in ([400], [])
    assert live.call("GET", "/ml/v2/rules?user_id=cut", **bearer(ADMIN)).body["rules"] == []
    assert jobs(live) == before


def test_a_body_whose_beginning_alone_is_valid_must_state_its_length(live: Live) -> None:
    """Chunks without the last one look like a whole body."""
    chunk = b"%x\r\n%s\r\n" % (len(ONE_RULE), ONE_RULE)
    for end in (b"", b"0\r\n\r\n"):
        put = request("PUT", "/ml/v2/rules?user_id=cut", TOKEN, YAML, CHUNKED, body=chunk + end)
        assert send(live.port, put, half_close=True).statuses in ([411], [])
    rollback = request("POST", "/ml/v2/model/rollback", TOKEN, JSON, CHUNKED, body=b"5\r\nhel")
    assert send(live.port, rollback, half_close=True).statuses in ([411], [])

    assert live.call("GET", "/ml/v2/rules?user_id=cut", **bearer(ADMIN)).body["rules"] == []


def test_a_request_for_a_prediction_may_be_sent_in_chunks(live: Live) -> None:
    body = b'{"merchant": "BEAN HOUSE"}'
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    token = f"Authorization: Bearer {PREDICT}"

    response = send(live.port, request("POST", "/ml/v2/predict", token, JSON, CHUNKED, body=chunks))

    assert response.statuses == [200]
