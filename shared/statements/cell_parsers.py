"""Parsers of cells: dates, amounts, currencies and texts, in a format that a sample decides.

A value in another format is a `BadCell`: a guess for each row would turn 01/02 into January in one
row and into February in the next.
"""

from __future__ import annotations

import codecs
import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from shared.db import copy_text
from shared.statements.column_names import normalize_name

DecimalMark = Literal[".", ","]
Sign = Literal["spend-positive", "spend-negative"]

TEXT_MAX = 1_000  # characters of a merchant, a description, an id
CACHE_SIZE = 1 << 15  # distinct texts, for each parser
_QUOTE_MAX = 60  # characters of a bad value in an error

_TIME = (
    r"(?:[T ,]\s*(?P<hour>\d{1,2})[:.]\d{2}(?:[:.]\d{2}(?:[.,]\d+)?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?)?"
)
_PART = {
    "yyyy": r"(?P<y>\d{4})",
    "yy": r"(?P<y>\d{2})",
    "mm": r"(?P<m>\d{1,2})",
    "dd": r"(?P<d>\d{1,2})",
    "mon": r"(?P<m>[^\W\d_]{3,10})\.?",
}
_ORDERS = (("yyyy", "mm", "dd"), ("dd", "mm", "yyyy"), ("mm", "dd", "yyyy"))
_SHORT_ORDERS = (("dd", "mm", "yy"), ("mm", "dd", "yy"))
_FORMATS = (
    "yyyy-mm-dd",
    *(s.join(o) for s in "/.-" for o in _ORDERS if s + o[0] != "-yyyy"),
    *(s.join(o) for s in "/.-" for o in _SHORT_ORDERS),
    "yyyymmdd",
    *(s.join(o) for s in " -/" for o in (("dd", "mon", "yyyy"), ("dd", "mon", "yy"))),
    "mon dd, yyyy",
    "mon dd yyyy",
)
_MONTHS = {  # by their first letters, in en, fr, de, es, it, pt and nl
    start: month
    for month, starts in enumerate(
        (
            ("jan", "ene", "gen"),
            ("feb", "fev"),
            ("mar", "mae", "mrt"),
            ("apr", "avr", "abr"),
            ("may", "mai", "mei", "mag"),
            ("jun", "giu", "juin"),
            ("jul", "lug", "juil"),
            ("aug", "aou", "ago"),
            ("sep", "set"),
            ("oct", "okt", "ott", "out"),
            ("nov",),
            ("dec", "dez", "dic"),
        ),
        start=1,
    )
    for start in starts
}

_CODES = {"€": "EUR", "£": "GBP", "$": "USD", "US$": "USD", "¥": "JPY", "₹": "INR", "ZŁ": "PLN"}
_MONEY = re.compile(r"[€£$¥₹₽₺₩]|US\$|\b[A-Z]{3}\b|zł|\bkr\.?|\bFr\.", re.IGNORECASE)
_SPACES = re.compile("[\\s\u00a0\u202f\u2009]+")
_SIMPLE = re.compile(r"-?\d{1,14}(?:\.\d{1,4})?")
_FORM = {
    # Digits in groups of three (or of two, as in India), then up to any number of decimals.
    ".": re.compile(
        r"(?P<whole>\d+|\d{1,3}(?:(?P<t>[,' ])\d{2,3})(?:(?P=t)\d{2,3})*)?(?:\.(?P<part>\d*))?"
    ),
    ",": re.compile(r"(?P<whole>\d+|\d{1,3}(?:(?P<t>[.' ])\d{3})+)?(?:,(?P<part>\d*))?"),
}
_SIDE = re.compile(r"(?<![A-Za-z])(CR|DR|D|C|S|H)\.?$", re.IGNORECASE)
_BAD_BYTE = re.compile("[\ud800-\udfff]")
_LAST_GROUP = re.compile(r"[,' ]\d{2}$")
_EXAMPLES = {".": "1,234.56", ",": "1.234,56"}
# Codecs that encode text but that no file is written in.
_NOT_OF_FILES = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "utf-7"}


class BadCell(ValueError):
    """A cell that cannot be parsed; the text is the reason, for the user."""


def quote(value: str) -> str:
    """A bad value for an error message: short, and on one line."""
    return repr(value if len(value) <= _QUOTE_MAX else value[:_QUOTE_MAX] + "…")


class DateFormat(NamedTuple):
    """The format of a file's dates."""

    name: str
    assumed: bool = False  # no date of the sample tells day from month
    with_hour: bool = True  # False if every time in the sample is midnight


@lru_cache(maxsize=64)
def _date_pattern(name: str) -> re.Pattern[str]:
    if name == "yyyymmdd":
        return re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})" + _TIME)
    parts = re.findall(r"yyyy|yy|mon|mm|dd|[^ymd]+", name)
    return re.compile("".join(_PART.get(part) or re.escape(part) for part in parts) + _TIME)


def find_encoding(text: str) -> str:
    """The codec of an encoding's name.

    Raises:
        ValueError: there is none of this name, or it is none of text files.
    """
    try:
        name = codecs.lookup(text).name
        "".encode(name)  # bytes to bytes, as base64 is: LookupError
    except (LookupError, UnicodeError):
        name = ""
    if not name or name in _NOT_OF_FILES:
        raise ValueError(f"{text!r}: there is no such encoding of text, give utf-8 or cp1252, say")
    return name


def find_date_format(text: str) -> str:
    """A date format as users write it (dd/mm/yyyy, %d/%m/%Y, yyyymmdd), in our notation.

    Raises:
        ValueError: it does not have one year, one month and one day.
    """
    name = text.strip()
    for code, part in {"%Y": "yyyy", "%y": "yy", "%m": "mm", "%d": "dd", "%b": "mon"}.items():
        name = name.replace(code, part)
    name = name.lower().replace("jj", "dd").replace("aaaa", "yyyy").replace("tt", "dd")
    parts = re.findall(r"yyyy|yy|mon|mm|dd|[a-z%]+", name)
    if sorted(part[0] for part in parts) != ["d", "m", "y"] or set(parts) - set(_PART):
        raise ValueError(f"{text!r}: give a date format such as dd/mm/yyyy or yyyy-mm-dd")
    return name


def decide_date(
    sample: Iterable[str], *, day_first: bool, name: str | None = None
) -> DateFormat | None:
    """The date format of most of the sample; None if no value is a date.

    Args:
        day_first: the order to assume if no value of the sample tells day from month.
        name: the format, if the options give it.
    """
    distinct = Counter(value.strip() for value in sample)
    assumed = False
    if name is None:
        fits: Counter[str] = Counter()
        for value, times in distinct.items():
            fits.update({form: times for form in _FORMATS if _parse_date(value, form) is not None})
        if not fits:
            return None
        best = [form for form in _FORMATS if fits[form] == max(fits.values())]
        assumed = len(best) > 1 and {best[0][0], best[1][0]} == {"d", "m"}
        name = next(form for form in best if form.startswith("dd") == day_first or not assumed)
    pattern = _date_pattern(name)
    with_hour = any(
        (match := pattern.fullmatch(value))
        and match["hour"]
        and re.search("[1-9]", value[match.start("hour") :].split("+")[0])
        for value in distinct
    )
    return DateFormat(name, assumed=assumed, with_hour=with_hour)


def _parse_date(text: str, name: str) -> tuple[dt.date, int | None] | None:
    match = _date_pattern(name).fullmatch(text)
    if match is None:
        return None
    year = int(match["y"])
    if len(match["y"]) == 2:
        year += 2000 if year < 70 else 1900
    hour = _hour(match)
    if hour is not None and hour > 23:
        return None
    try:
        return dt.date(year, _month(match["m"]), int(match["d"])), hour
    except ValueError:
        return None


def _hour(match: re.Match[str]) -> int | None:
    """The hour of the day, which may be over 23; None if there is no time."""
    if not match["hour"]:
        return None
    hour = int(match["hour"])
    if match["half"]:
        hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
    return hour


def _month(text: str) -> int:
    """A month's number; 0 if the word is no month."""
    if text.isdecimal():
        return int(text)
    name = normalize_name(text)
    return _MONTHS.get(name[:3]) or _MONTHS.get(name[:4], 0)


def date_parser(format_: DateFormat) -> Callable[[str], tuple[str, str]]:
    """A parser of the file's dates: ISO date, and hour of the day or COPY's null."""

    @lru_cache(maxsize=CACHE_SIZE)
    def parse(text: str) -> tuple[str, str]:
        value = text.strip()
        if not value:
            raise BadCell("no date")
        parsed = _parse_date(value, format_.name)
        if parsed is None:
            raise BadCell(f"date {quote(value)}: expected {format_.name}")
        day, hour = parsed
        if not 1900 <= day.year <= 2200:
            raise BadCell(f"date {quote(value)}: the year must be from 1900 to 2200")
        return day.isoformat(), "\\N" if hour is None or not format_.with_hour else str(hour)

    return parse


@lru_cache(maxsize=CACHE_SIZE)
def parse_hour(text: str) -> str:
    """The hour of a time column's value, or COPY's null if it shows none."""
    match = re.fullmatch(_TIME, " " + text.strip())
    hour = _hour(match) if match else None
    return "\\N" if hour is None or hour > 23 else str(hour)


def decide_decimal(sample: Iterable[str], *, otherwise: DecimalMark) -> tuple[DecimalMark, bool]:
    """The decimal mark, and whether the sample shows it; else it is *otherwise*."""
    votes: Counter[DecimalMark] = Counter()
    for value in sample:
        marks = re.findall(r"[.,](?=\d)", value)
        if not marks:
            continue
        last: DecimalMark = "," if marks[-1] == "," else "."
        other: DecimalMark = "." if last == "," else ","
        tail = len(re.split(r"[.,]", re.sub(r"[^\d.,]", "", value))[-1])
        if len(set(marks)) == 2:
            votes[last] += 1
        elif len(marks) > 1:
            votes[other] += 1
        elif tail != 3:
            votes[last] += 1
    if not votes:
        return otherwise, False
    return votes.most_common(1)[0][0], True


def find_currency_word(text: str) -> str | None:
    """The currency within an amount, such as € 12.50 or 12,50 EUR."""
    match = _MONEY.search(text)
    if match is None:
        return None
    code = _CODES.get(match[0].upper(), match[0].upper())
    return code if re.fullmatch(r"[A-Z]{3}", code) and code not in ("NAN", "INF") else None


def credits_only(sample: Iterable[str]) -> bool:
    """Whether credits are marked with CR and debits with nothing, as on card statements."""
    marks = {match[1].upper()[0] for value in sample if (match := _SIDE.search(value.strip()))}
    return marks == {"C"}


def amount_parser(decimal: DecimalMark, *, credit_negative: bool = False) -> Callable[[str], str]:
    """A parser of the file's amounts: plain numbers with a decimal point, as PostgreSQL reads them.

    Args:
        credit_negative: CR marks negative amounts; without, DR does.
    """
    form = _FORM[decimal]

    def parse(text: str) -> str:
        value = text.strip()
        if decimal == "." and _SIMPLE.fullmatch(value):
            return value
        if not value:
            raise BadCell("no amount")
        bare, negative = _bare(value, credit_negative)
        match = form.fullmatch(bare)
        if (
            match is None
            or not any(map(str.isdigit, bare))
            or _LAST_GROUP.search(match["whole"] or "")
        ):
            raise BadCell(f"amount {quote(value)}: expected a number like {_EXAMPLES[decimal]}")
        whole = re.sub(r"\D", "", match["whole"] or "").lstrip("0") or "0"
        part = match["part"] or ""
        if len(part.rstrip("0")) > 4:
            raise BadCell(f"amount {quote(value)}: more than 4 decimals")
        if len(whole) > 14:
            raise BadCell(f"amount {quote(value)}: too large")
        number = f"{whole}.{part[:4]}" if part else whole
        return "-" + number if negative else number

    return parse


def _bare(value: str, credit_negative: bool) -> tuple[str, bool]:
    """An amount without sign, currency and odd spaces, and whether it is negative."""
    text = _SPACES.sub(" ", value).replace("−", "-").replace("–", "-").replace("’", "'")
    negative = False
    if text.startswith("(") and text.endswith(")"):
        text, negative = text[1:-1], True
    if side := _SIDE.search(text):
        negative ^= side[1].upper() in (("C", "CR", "H") if credit_negative else ("D", "DR", "S"))
        text = text[: side.start()]
    text = _MONEY.sub("", text, count=1).strip()
    if text[:1] in ("-", "+"):
        negative ^= text[0] == "-"
        text = text[1:]
    elif text[-1:] in ("-", "+"):
        negative ^= text[-1] == "-"
        text = text[:-1]
    return text.strip(), negative


@lru_cache(maxsize=1024)
def parse_currency(text: str) -> str:
    """A currency's three letters from its code or sign; '' for an empty cell."""
    value = text.strip().upper()
    code = _CODES.get(value, value)
    if code and not re.fullmatch(r"[A-Z]{3}", code):
        raise BadCell(f"currency {quote(text)}: expected three letters such as EUR")
    return code


def text_parser(name: str, limit: int = TEXT_MAX) -> Callable[[str], str]:
    r"""A parser of texts, in COPY's form: `\N` for an empty one, backslashes doubled."""

    def parse(text: str) -> str:
        value = text.strip()
        if not value:
            return "\\N"
        if len(value) > limit:
            raise BadCell(f"{name} has {len(value):,} characters, at most {limit:,} are taken")
        if not value.isprintable():
            if "\0" in value:
                raise BadCell(f"{name} holds a NUL character")
            if _BAD_BYTE.search(value):
                raise BadCell(f"{name} {quote(value)}: not written in the file's encoding")
        return copy_text.encode(value)

    return parse


def texts_parser(
    parse: Callable[[str], str], limit: int = TEXT_MAX
) -> Callable[[Sequence[str]], Iterable[str]]:
    """A parser of many texts at once, several times as fast if none needs `parse`."""

    def parse_all(texts: Sequence[str]) -> Iterable[str]:
        joined = " ".join(texts)
        if joined.isprintable() and "\\" not in joined and max(map(len, texts)) <= limit:
            return [text.strip() or "\\N" for text in texts]
        return map(parse, texts)

    return parse_all
