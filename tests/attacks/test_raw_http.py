"""HTTP that two programs could read differently: one request in, one answer out, or none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.conftest import Live
from tests.attacks.wire import RawResponse, request, send
from tests.support.api import PREDICT

TOKEN = f"Authorization: Bearer {PREDICT}"
JSON = "Content-Type: application/json"
HIDDEN = request("GET", "/ml/v2/jobs", TOKEN)  # what would be answered if a body were taken for it
BODY = b'{"merchant": "BEAN HOUSE"}'
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


def post(*headers: str, body: bytes = b"", **facts: str) -> bytes:
    return request("POST", "/ml/v2/predict", TOKEN, JSON, *headers, body=body, **facts)


AMBIGUOUS = {
    "two lengths that differ": [post("Content-Length: 0", LENGTH, body=HIDDEN)],
    "two lengths, the other way": [post(LENGTH, "Content-Length: 0", body=HIDDEN)],
    "two lengths in one line": [post("Content-Length: 0, 26", body=HIDDEN)],
    "a length and chunks": [post("Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + HIDDEN)],
    "chunks and a length": [post(CHUNKED, "Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN)],
    "a length that goes on behind the chunks": [
        post(f"Content-Length: {5 + len(HIDDEN)}", CHUNKED, body=b"0\r\n\r\n" + HIDDEN)
    ],
    "chunks, spelt with a space before the colon": [
        post("Content-Length: 5", "Transfer-Encoding : chunked", body=b"0\r\n\r\n" + HIDDEN)
    ],
    "chunks that are not the last coding": [
        post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + HIDDEN)
    ],
    "chunks twice": [post("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n" + HIDDEN)],
    "two codings in two lines": [post(CHUNKED, "Transfer-Encoding: x", body=b"0\r\n\r\n" + HIDDEN)],
    "an unknown coding": [post("Transfer-Encoding: xchunked", LENGTH, body=HIDDEN)],
    "a coding with a vertical tab": [post("Transfer-Encoding: \x0bchunked", LENGTH, body=HIDDEN)],
    "a coding in quotes": [post('Transfer-Encoding: "chunked"', LENGTH, body=HIDDEN)],
    "a coding in HTTP/1.0": [
        post(CHUNKED, LENGTH, body=b"0\r\n\r\n" + HIDDEN, version="HTTP/1.0")
    ],
    "a length below nothing": [post("Content-Length: -1", body=HIDDEN)],
    "a length with a sign": [post("Content-Length: +5", body=HIDDEN)],
    "a length in hexadecimal": [post("Content-Length: 0x5", body=HIDDEN)],
    "a length with a space in it": [post("Content-Length: 1 0", body=HIDDEN)],
    "a length beyond all numbers": [post("Content-Length: 18446744073709551617", body=HIDDEN)],
    "a length of Arabic digits": [post("Content-Length: \xd9\xa5", body=HIDDEN)],
    "a chunk of negative size": [post(CHUNKED, body=b"-1\r\n" + HIDDEN)],
    "a chunk beyond all numbers": [post(CHUNKED, body=b"10000000000000000\r\n" + HIDDEN)],
    "a chunk size with 0x": [post(CHUNKED, body=b"0x0\r\n\r\n" + HIDDEN)],
    "a chunk size with an underscore": [post(CHUNKED, body=b"0_0\r\n\r\n" + HIDDEN)],
    "a chunk longer than it says": [post(CHUNKED, body=b"1\r\nXX\r\n0\r\n\r\n" + HIDDEN)],
    "chunks ended by a bare LF": [post(CHUNKED, body=b"0\n\n" + HIDDEN)],
    "a chunk extension with a bare CR": [post(CHUNKED, body=b"0;a\rb\r\n\r\n" + HIDDEN)],
    "a chunk extension with a bare LF": [post(CHUNKED, body=b"2;a\nxx\r\n0\r\n\r\n" + HIDDEN)],
    "a header folded over two lines": [post("Content-Length:", " 5", body=b"{}   " + HIDDEN)],
    "a folded header in front": [
        b"POST /ml/v2/predict HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: x\r\n\r\n" + HIDDEN
    ],
    "a NUL in a header": [post("X-A: a\x00b", LENGTH, body=HIDDEN)],
    "a bare CR in a header": [post("X-A: a\rContent-Length: 0", LENGTH, body=HIDDEN)],
    "a NUL in a header's name": [post("Content-Length\x00: 5", body=HIDDEN)],
    "a header without a name": [post(": 5", LENGTH, body=HIDDEN)],
    "a header without a colon": [post("Content-Length 5", body=HIDDEN)],
    "no host": [post(LENGTH, body=BODY, host="")],
    "two hosts": [post("Host: y", LENGTH, body=BODY)],
    "a request line of four words": [b"GET /healthz x HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a request line of one word": [b"GET\r\n\r\n"],
    "a path with a space": [b"GET /health z HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a tab for a space": [b"GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n"],
    "a NUL in the path": [b"GET /healthz\x00 HTTP/1.1\r\nHost: x\r\n\r\n"],
    "HTTP/0.9": [b"GET /healthz\r\n"],
    "HTTP/9.9": [b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n"],
    "HTTP/1.2": [b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n"],
    "HTTP in small letters": [b"GET /healthz http/1.1\r\nHost: x\r\n\r\n"],
    "another protocol": [b"SSH-2.0-OpenSSH_9.9\r\n"],
    "a handshake of TLS": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200],
    "HTTP/2 without being asked, cut short": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\xff"],
    "an endless request line": [b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a huge header": [post("X-A: " + "a" * 2_000_000, LENGTH, body=BODY)],
    "a hundred thousand headers": [post(*["X-A: a"] * 100_000, LENGTH, body=BODY)],
}  # fmt: skip

# Read by everybody in the same way: one answer each.
ONCE = {
    "an unread upgrade": (
        [200], post("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", LENGTH, body=BODY)
    ),
    "a header that is nearly another": (
        [200], post("Transfer_Encoding: chunked", "Content_Length: 0", LENGTH, body=BODY)
    ),
    "a method in small letters": ([403], request("post", "/healthz", TOKEN)),
    "a whole address": ([401], request("GET", "http://127.0.0.1/ml/v2/jobs")),
    "another's address": ([401], request("GET", "http://elsewhere/ml/v2/jobs", host="Host: y")),
    "a tunnel": ([401], request("CONNECT", "127.0.0.1:22")),
    "the server as a whole": ([401], request("OPTIONS", "*")),
    "a bare LF at the end of each line": ([401], b"GET /ml/v2/jobs HTTP/1.1\nHost: x\n\n"),
    "two tokens": (
        [401], request("GET", "/ml/v2/jobs", "Authorization: Bearer wrong", TOKEN)
    ),
    "a token folded away": (
        [401], request("GET", "/ml/v2/jobs", f"X-A: a, {TOKEN}")
    ),
    "a request in a body that nobody reads": (
        [401], request("POST", "/ml/v2/predict", f"Content-Length: {len(HIDDEN)}", body=HIDDEN)
    ),
    "a request in a body of another type": (
        [415],
        request("POST", "/ml/v2/predict", TOKEN, f"Content-Length: {len(HIDDEN)}", body=HIDDEN),
    ),
    "a request in the body of a GET": (
        [200], request("GET", "/healthz", f"Content-Length: {len(HIDDEN)}", body=HIDDEN)
    ),
    "a request in chunks of a GET": (
        [200],
        request(
            "GET", "/healthz", CHUNKED, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
        ),
    ),
    "a trailer that would change the header": (
        [200],
        post(CHUNKED, body=CHUNKS[:-2] + b"Content-Length: 0\r\nHost: y\r\n\r\n"),
    ),
    "two requests, one after the other": (
        [200, 401], post(LENGTH, body=BODY) + request("GET", "/ml/v2/jobs")
    ),
    "three, with the last word that it is": (
        [200, 200, 200],
        request("GET", "/healthz") * 2 + request("GET", "/healthz", "Connection: close"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def responses(live: Live) -> dict[str, RawResponse]:
    """What the server said to each, all of them asked at once."""
    asked = {**AMBIGUOUS, **{name: [data] for name, (_, data) in ONCE.items()}}
    with ThreadPoolExecutor(24) as pool:
        responses = pool.map(lambda parts: send(live.port, *parts, wait_s=3), asked.values())
        return dict(zip(asked, responses, strict=True))


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_request_is_refused_and_its_connection_closed(
    responses: dict[str, RawResponse], name: str
) -> None:
    """One refusal at most; what follows it on the connection is never answered."""
    assert responses[name].statuses in ([400], [431], [])
    assert responses[name].closed


@pytest.mark.parametrize("name", ONCE)
def test_each_request_has_one_answer(responses: dict[str, RawResponse], name: str) -> None:
    """A body is never taken for a request."""
    expected, _ = ONCE[name]

    assert responses[name].statuses == expected


def test_raw_requests_leave_the_server_running_without_faults(
    live: Live, responses: dict[str, RawResponse]
) -> None:
    """The same processes serve on, and the log has no fault."""
    assert len(responses) >= 60
    assert not [
        name for name, response in responses.items() if any(s >= 500 for s in response.statuses)
    ]
    assert live.process.poll() is None
    assert live.broken() == []
    assert live.alive()
