"""Hostile input for every route, without an end and the same again for the same seed."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, quote_from_bytes

JSON = "application/json"
DAY, RULE = "2026-05-01", {"label": "Coffee", "merchant": "BEAN HOUSE"}
RAW = {"merchant": "BEAN HOUSE", "description": "x", "amount": -4.5, "date": DAY, "user_id": "u"}
STORED = {"external_id": "x1", **RAW}

FILE_FACTS = {
    "user_id": "u", "columns": {"date": "Date", "merchant": "Payee"}, "delimiter": ";",
    "encoding": "utf-8", "date_format": "dd.mm.yyyy", "decimal": ",", "sign": "spend-negative",
    "currency": "EUR", "account": "x",
}  # fmt: skip
FILE = b"Date;Payee;Amount\n01.05.2026;BEAN HOUSE;-4,50\n02.05.2026;BEAN HOUSE;-5,00\n"
# These take a form: what is attacked are its parts.
FORMS = ("POST /ml/v2/imports", "POST /ml/v2/imports/look")

# What a good caller sends; each attack begins with one of these.
GOOD: Mapping[str, Any] = {
    "POST /ml/v2/predict": RAW,
    "POST /ml/v2/predict/batch": {"rows": [RAW, {"txn_id": 1}]},
    "POST /ml/v2/predict/explain": RAW,
    "POST /ml/v2/suggest": {"transactions": [RAW], "user_id": "u"},
    "POST /ml/v2/suggest/explain": RAW,
    "POST /ml/v2/suggest/history": {"user_id": "u"},
    "POST /ml/v2/review": {"suggestion_ids": ["0" * 32], "action": "correct", "label": "Coffee"},
    "POST /ml/v2/review/merchant": {
        "user_id": "u",
        "merchant": "bean house",
        "suggested": "Toys",
        "action": "accept",
    },
    "POST /ml/v2/imports": FILE_FACTS,
    "POST /ml/v2/imports/look": FILE_FACTS,
    "POST /ml/v2/suggestions/x/feedback": {"action": "correct", "label": "Coffee"},
    "POST /ml/v2/transactions": {"transactions": [STORED, {**STORED, "external_id": "x2"}]},
    "POST /ml/v2/labels": {"labels": [{"external_id": "x1", "label": "Coffee"}, {"txn_id": 1}]},
    "PUT /ml/v2/rules": {"rules": [RULE]},
    "POST /ml/v2/rules/preview": {"rules": [RULE]},
    "POST /ml/v2/rules/apply": {"user_id": "u"},
    "POST /ml/v2/features": {"days": 3},
    "POST /ml/v2/train": {"limit": 100, "deploy": "never"},
    "POST /ml/v2/models/x/deploy": {"why": "x"},
    "POST /ml/v2/model/rollback": {"why": "x"},
    "PUT /ml/v2/canary": {"share": "10%", "why": "x"},
    "POST /ml/v2/trial": {"run_id": "x", "share": "10%", "why": "x"},
    "POST /ml/v2/trial/promote": {"why": "x"},
    "POST /ml/v2/trial/drop": {"why": "x"},
    "POST /sign-in": {"token": "x"},
}
QUERIES: Mapping[str, tuple[str, ...]] = {
    "GET /ml/v2/jobs": ("limit", "kind", "state"),
    "GET /ml/v2/rules": ("user_id", "version"),
    "PUT /ml/v2/rules": ("user_id",),
    "POST /ml/v2/rules/preview": ("user_id", "limit"),
    "GET /ml/v2/rules/proposals": ("user_id",),
    "GET /ml/v2/suggestions/disagreements": ("limit", "user_id", "days"),
    "GET /ml/v2/drift": ("limit", "run_id"),
    "DELETE /ml/v2/users": ("user_id",),
    "GET /ml/v2/canary": ("user_id",),
    "GET /ml/v2/imports": ("limit",),
    "GET /ml/v2/review": ("order", "user_id", "merchant", "limit", "after"),
    "GET /review": ("order", "user_id"),
    "GET /csv": ("x",),
    "GET /figures": ("x",),
    "GET /readyz": ("x",),
    "GET /": ("x",),
}
TEXTS = (
    "", " ", "\x00", "a\x00b", "\x1f", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\U0010ffff",
    "\u202egnp.exe", "\u200f\u05d0", "\u0627\u0644\u0639", "\U0001f600",
    "Z\u0351\u036b\u0343" * 50, "ﷺ" * 200, "ß" * 100, "İıſK", "e\u0301" * 300, "a" * 100_000,
    "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "'; DROP TABLE transactions;--", "%s%n%x",
    "${jndi:ldap://x/y}", "{{7*7}}", "<script>alert(1)</script>", "../../etc/passwd", "NaN",
    "null", "2026-02-30", "0000-00-00", "9999-12-31", "-0001-01-01", "١٢٣٤-٠١-٠١", "1e400", "0x10",
    "１２", "\r\nX: y", "(" * 5_000, "(a+)+$", "[[:alpha:]]", "\\", "a{1000}{1000}", "__proto__",
    "constructor", "$ne",
)  # fmt: skip
# As JSON writes them, or as only some parsers read them.
NUMBERS = (
    "0", "-0", "-0.0", "1", "-1", "1.0", "1e0", "1e308", "-1e308", "1e309", "-1e400", "1e-400",
    "5e-324", "NaN", "Infinity", "-Infinity", "9007199254740993", "9223372036854775807",
    "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e14",
    "99999999999999.99999", "0.1e1", "1E+2", "01", "+1", ".5", "1.", "0x1F", "1_000", "1e", "--1",
    "true", "false", "null", "None", "undefined", "9" * 400, "9" * 5_000, "0." + "1" * 5_000,
    "1e" + "9" * 300,
)  # fmt: skip
ESCAPES = (r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"', r'"\x41"', '"\n"', r'"\u12"')
WRONG_TYPES = ("[]", "{}", "[[]]", '{"a":1}', '""', '["a"]', '{"":null}', "[null]", '[1,"a",{}]')
CONTENT_TYPES = (
    JSON, JSON, JSON, JSON, "", "text/plain", "application/x-www-form-urlencoded", "text/json",
    "multipart/form-data; boundary=x", "multipart/form-data; boundary=" + "x" * 5_000,
    "application/xml", "application/json; charset=utf-16", "application/json; charset=nonsense",
    "APPLICATION/JSON", "application/json;;;", "application/yaml", "text/yaml",
    "application/x-python-serialize", "*/*", "application/json, text/plain",
    "application/problem+json", "\xff", "application/x-msgpack",
)  # fmt: skip
YAML_BODIES = (
    "rules: " + "[" * 2_000, "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nrules: *c",
    "rules: !!python/name:os.system", "rules: !!python/object/apply:os.system ['id']",
    "? [a]\n: b", "rules: &r [*r]", "---\n---\n", "\t", "rules:\n- &x {label: a, <<: *x}",
    "%YAML 9.9\n---\nrules: []", "rules: 2026-01-01", "rules: .nan", "rules: 0x" + "f" * 5_000,
    "rules: 1" + ":1" * 3_000, "\x00", "{}" * 500,
)  # fmt: skip


class Shot(NamedTuple):
    """One hostile request."""

    method: str
    path: str
    body: bytes
    content_type: str
    how: str


def shots(seed: int) -> Iterator[Shot]:
    """Without an end; the routes take turns, and the rest is drawn."""
    draw = random.Random(seed)
    routes = [*GOOD, *QUERIES]
    while True:
        for route in routes:
            method, path = route.split(" ", 1)
            names = QUERIES.get(route, ())
            query = _query(draw, names) if names and draw.random() < 0.7 else ""
            if route not in GOOD:
                yield Shot(method, path + query, b"", "", "query")
                continue
            how = draw.choice(sorted(WAYS))
            body = WAYS[how](draw, GOOD[route])
            kind = JSON if draw.random() < 0.8 else draw.choice(CONTENT_TYPES)
            if how == "yaml":
                kind = "application/yaml"
            if route in FORMS and draw.random() < 0.9:
                kind, body = _form(draw, body, GOOD[route])
            yield Shot(method, path + query, body, kind, how)


def _query(draw: random.Random, names: tuple[str, ...]) -> str:
    parts = []
    for _ in range(draw.randint(1, 3)):
        name = draw.choice((*names, *names, "x", "", "__class__"))
        value = draw.choice((*TEXTS, *NUMBERS))[: draw.choice((20, 5_000))]
        spelt = quote(value) if draw.random() < 0.9 else quote_from_bytes(draw.randbytes(6))
        parts.append(f"{name}={spelt}")
    return "?" + draw.choice("&&&;").join(parts)


def _form(draw: random.Random, body: bytes, good: Any) -> tuple[str, bytes]:
    """The body as what is said of a good file, or a hostile file of which good is said."""
    name = draw.choice(("bank.csv", "bank.csv", *TEXTS)).encode("utf-8", "replace")[:300]
    file, options = FILE, body
    if draw.random() < 0.5:
        cells = ";".join(draw.choice((*TEXTS, *NUMBERS))[:3_000] for _ in range(3))
        row = cells.encode("utf-8", "replace") + b"\n"
        file = draw.choice((body, FILE + row, FILE + draw.randbytes(60), gzip.compress(FILE)[:-9]))
        options = draw.choice((b"{}", json.dumps(good).encode()))
    part = b'--x\r\nContent-Disposition: form-data; name="%s"'
    named = name.replace(b"\n", b"_").replace(b"\r", b"_").replace(b'"', b"_")
    parts = [
        part % b"file" + b'; filename="%s"\r\n\r\n%s\r\n' % (named, file),
        part % b"options" + b"\r\n\r\n%s\r\n" % options,
        b"--x--\r\n",
    ]
    return "multipart/form-data; boundary=x", b"".join(parts)


def _value(draw: random.Random) -> str:
    """A hostile value as JSON, or nearly."""
    kind = draw.randrange(5)
    if kind == 0:
        return draw.choice(NUMBERS)
    if kind == 1:
        return draw.choice(WRONG_TYPES)
    if kind == 2:
        return "[" * draw.choice((10, 150, 3_000)) + "]" * draw.choice((10, 150, 3_000))
    if kind == 3:
        return draw.choice(ESCAPES)
    return json.dumps(draw.choice(TEXTS), ensure_ascii=draw.random() < 0.5)


def _leaf(draw: random.Random, good: Any) -> bytes:
    """One value in its place is another one."""
    leaves = [*_leaves(good)]
    chosen = draw.choice(leaves)
    mark = "\ue000here\ue000"
    text = json.dumps(_replaced(good, chosen, mark), ensure_ascii=False)
    return text.replace(json.dumps(mark, ensure_ascii=False), _value(draw)).encode(
        "utf-8", "replace"
    )


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from _leaves(inner, (*path, key))


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    copy = value.copy()
    copy[key] = _replaced(value[key], tuple(rest), new)
    return copy


def _more(draw: random.Random, good: Any) -> bytes:
    """A field that nobody asked for, or one of another route."""
    name = draw.choice((*TEXTS[:30], "txn_id", "txn_ids", "rows", "rules", "__class__", "self"))
    extra = json.dumps(name)[:2_000].rstrip("\\") if len(name) < 1_000 else '"long"'
    return (json.dumps(good)[:-1] + f", {extra}: {_value(draw)}}}").encode("utf-8", "replace")


def _twice(draw: random.Random, good: Any) -> bytes:
    """The same key again, with another value."""
    name = draw.choice([*good])
    return (json.dumps(good)[:-1] + f", {json.dumps(name)}: {_value(draw)}}}").encode(
        "utf-8", "replace"
    )


def _many(draw: random.Random, good: Any) -> bytes:
    """More items, of one field, than anybody has."""
    name = draw.choice([*good])
    count = draw.choice((999, 1_001, 20_000))
    return f"{{{json.dumps(name)}: [{','.join(['1'] * count)}]}}".encode()


def _cut(draw: random.Random, good: Any) -> bytes:
    whole = json.dumps(good).encode()
    return whole[: draw.randrange(len(whole))]


def _flipped(draw: random.Random, good: Any) -> bytes:
    whole = bytearray(json.dumps(good).encode())
    for _ in range(draw.randint(1, 4)):
        whole[draw.randrange(len(whole))] = draw.randrange(256)
    return bytes(whole)


def _encoded(draw: random.Random, good: Any) -> bytes:
    text = json.dumps({**good, "merchant": "é"}, ensure_ascii=False)
    name = draw.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "utf-7", "cp500"))
    return text.encode(name)


WAYS: Mapping[str, Callable[[random.Random, Any], bytes]] = {
    "leaf": _leaf,
    "leaf again": _leaf,
    "value alone": lambda draw, _: _value(draw).encode("utf-8", "replace"),
    "more": _more,
    "twice": _twice,
    "many": _many,
    "cut": _cut,
    "flipped": _flipped,
    "encoded": _encoded,
    "noise": lambda draw, _: draw.randbytes(draw.choice((0, 1, 50, 5_000))),
    "compressed": lambda _, good: gzip.compress(json.dumps(good).encode()),
    "deep": lambda draw, _: (draw.choice(('{"a":', "[")) * 20_000).encode(),
    "yaml": lambda draw, _: draw.choice(YAML_BODIES).encode(),
}  # fmt: skip
