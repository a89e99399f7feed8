"""What a bank line tells before anybody has labelled one: the brand, and so the kind of shop.

Two lists of names: OpenStreetMap's name-suggestion-index in data/brands.tsv.gz, made by
local/setup/make_brands.py, its licence in data/NOTICE; and, going first, the `brands` of
data/categories.toml.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Literal, NamedTuple

from shared.features.extract import FeatureRow
from shared.features.taxonomy import bank_names, category_of_mcc, match_keyword, parent_category
from shared.text.cache import cached
from shared.text.channel_hints import detect_hints
from shared.text.normalize_vocabulary import CITIES, REGIONS, STORE_WORDS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# How freely a name may be matched. WHOLE: a line says nothing else but numbers and places. WEAK: it
# starts a line that tells no other kind. START: it starts a line. No mark: anywhere in a line.
WHOLE, WEAK, START = "=", "~", "^"
MARKS = WHOLE + WEAK + START

_NAME_WORDS_MAX = 7
_LINE_WORDS_MAX = 14
_ANYWHERE_MIN = 8  # letters of one of the bank's names that may stand anywhere
# What stands before the shop: card processors, and the bank's own words.
_BEFORE = _words(
    "sq gosq tst sp ssp pp py pypl paypal sumup zettle izettle iz cke chk wpy stripe clover toast"
    " fsp evb ls klarna adyen worldpay yoco shopify shop mollie mol www http https pos purchase"
    " card payment to at visa debit contactless interac mastercard checkcard recurring authorized"
    " authorised on online achat cb carte prlv lastschrift kartenzahlung compra pagamento the help"
)
_AFTER = STORE_WORDS | REGIONS | CITIES | _words("com www online ltd inc llc plc")
# A shop sells these beside what it is known for: `tesco petrol`.
_DEPARTMENTS = _words("Fuel Parking Pharmacy")
_OF_CHANNEL = {"atm": "Cash", "fee": "Fees", "transfer": "Transfers", "p2p": "Transfers"}
_EURO = "AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK"

Source = Literal["mcc", "brand", "word", "channel"]


class Brand(NamedTuple):
    """A name as people write it, and its kind, one of `kinds()`."""

    name: str
    category: str


class CategoryMatch(NamedTuple):
    """A kind, what told it, and the code, name or words that did."""

    category: str
    source: Source
    evidence: str


class _Entry(NamedTuple):
    brand: Brand
    mark: str
    likely: tuple[int, int]  # of several brands with one name, the lowest is meant
    countries: frozenset[str]  # empty: everywhere
    ours: bool = False  # from categories.toml


def key_of(words: Sequence[str]) -> str:
    """Folded *words* as one key: `h & m`, `h&m` and `h and m` are the same.

    >>> key_of(["7", "eleven"]), key_of(["marks", "and", "spencer"])
    ('7eleven', 'marksspencer')
    """
    return "".join([word for word in words if word != "and"]).replace("&", "")


def lookup_category(row: FeatureRow) -> CategoryMatch | None:
    """What *row* is likely to be, without anybody's labels; None where nothing tells.

    In this order: category code, a line about cash, fees or interest, brand, word, channel.
    """
    if row.mcc and (kind := category_of_mcc(row.mcc)):
        return CategoryMatch(kind, "mcc", row.mcc)
    money_in = row.amount is not None and row.amount > 0
    told = detect_hints(row.line).channel
    word = match_keyword(row.line)
    fee = word is not None and word.category == "Fees"  # `atm operator fee`
    if told in ("atm", "fee", "interest") and not fee:
        return CategoryMatch(_category_of_channel(told, money_in), "channel", told)
    if not fee and not (
        money_in and "deposit" in (told, row.channel)
    ):  # who pays a salary sells nothing
        # ISO 4217: a national currency's code begins with its country's.
        country = _EURO if row.currency == "EUR" else row.currency[:2]
        if brand := brand_of(row.line, country) or brand_of(row.merchant, country):
            return CategoryMatch(brand.category, "brand", brand.name)
    if word:
        return CategoryMatch(word.category, "word", word.words)
    # A memo may speak of a transfer and mean a switch: there only the line counts.
    channel = told if row.norm_desc and row.channel in ("transfer", "p2p") else row.channel
    kind = _category_of_channel(channel, money_in)
    return CategoryMatch(kind, "channel", channel) if kind else None


def _category_of_channel(channel: str, money_in: bool) -> str:
    if channel in ("interest", "deposit"):
        return "Income" if money_in else "Fees" if channel == "interest" else ""
    return _OF_CHANNEL.get(channel, "")


@cached(8_192)
def brand_of(line: str, country: str = "") -> Brand | None:
    """The brand that *line* names; None where it names none that is known.

    The longest name at the start of the line counts, after what processors and banks put before
    it; then distinctive names anywhere.

    Args:
        line: the merchant as printed, folded, as in FeatureRow.line.
        country: two-letter codes of where the account is, joined by spaces; '' unknown. It
            decides between brands of one name, and holds back names from elsewhere.

    >>> brand_of("tim hortons 2392")
    Brand(name='Tim Hortons', kind='Coffee')
    """
    words = line.split()[:_LINE_WORDS_MAX]
    where = frozenset(country.split())
    start = 0
    while start < len(words):
        if found := _longest(words, start, where, first=True):
            return found
        if words[start] not in _BEFORE and not words[start].isdigit():
            break
        start += 1
    for later in range(start + 1, len(words)):
        if found := _longest(words, later, where, first=False):
            return found
    return None


def _longest(words: list[str], start: int, where: frozenset[str], *, first: bool) -> Brand | None:
    best: Brand | None = None
    for end, key in _keys_from(words, start):
        entry = _bank_entry(key) or _nearest(key, where)
        if entry and _fits(entry, words[end:], where, first=first):
            best = entry.brand
    return best


def _keys_from(words: list[str], start: int) -> Iterator[tuple[int, str]]:
    """Known keys of the words from *start* on, shorter first, and where each ends."""
    ours, theirs = _bank_table(), _index_table()
    key = ""
    for end in range(start, min(start + _NAME_WORDS_MAX, len(words))):
        word = words[end].replace("&", "")
        if word == "and":
            continue
        if not word.isalpha():
            bare = word.rstrip("0123456789")
            if len(bare) > 3 and (key + bare in ours or key + bare in theirs):
                yield end + 1, key + bare  # shoppersdrugmart0901
        key += word
        if key in ours or key in theirs:
            yield end + 1, key


def _nearest(key: str, where: frozenset[str]) -> _Entry | None:
    """Of the brands of that name, one that is where the account is."""
    entries = _index_entries(key)
    here = [entry for entry in entries if entry.countries & where]
    world = [entry for entry in entries if where and not entry.countries]
    return next(iter(here or world or entries), None)


def _fits(entry: _Entry, rest: list[str], where: frozenset[str], *, first: bool) -> bool:
    foreign = bool(where and entry.countries and not where & entry.countries)
    if not first:
        return not entry.mark and not foreign
    if foreign or entry.mark == WHOLE:
        # A common word of the index is a brand only where such a shop is at hand.
        near = entry.mark != WHOLE or entry.ours or bool(where & entry.countries)
        return near and all(word in _AFTER or any(map(str.isdigit, word)) for word in rest)
    told = match_keyword(" ".join(rest)) if rest else None
    kind = entry.brand.category
    if (
        not told
        or told.category in (kind, parent_category(kind))
        or parent_category(told.category) == kind
    ):
        return True
    return entry.mark != WEAK and told.category not in _DEPARTMENTS


@lru_cache(maxsize=1)
def _bank_table() -> dict[str, tuple[str, str]]:
    """Of each key of our own list, the name as it stands there, with most blanks, and its kind."""
    names = sorted(bank_names().items(), key=lambda item: item[0].count(" "))
    return {key_of(name.lstrip(MARKS).split()): (name, kind) for name, kind in names}


@lru_cache(maxsize=4_096)
def _bank_entry(key: str) -> _Entry | None:
    marked, kind = _bank_table().get(key, ("", ""))
    if not (name := marked.lstrip(MARKS)):
        return None
    mark = marked[: -len(name)]
    if not mark and len(key) < _ANYWHERE_MIN:
        mark = START if len(key) > 2 else WHOLE
    return _Entry(Brand(_display(name, kind), kind), mark, (0, 0), frozenset(), ours=True)


def _display(name: str, kind: str) -> str:
    """How people write *name*: `amazon uk marketplace` is Amazon, `mcdonald s` is McDonald's."""
    starts = [name.split()[:count] for count in range(name.count(" ") + 1, 0, -1)]
    starts = [start for start in starts if _bank_table().get(key_of(start), ("", ""))[1] == kind]
    for start in starts:
        for entry in _index_entries(key_of(start)):
            if entry.likely[0] == 0:
                return entry.brand.name
    return " ".join(map(_capital, starts[-1]))


def _capital(word: str) -> str:
    return word.upper() if len(word) < 4 and not set(word) & set("aeiou") else word.capitalize()


@lru_cache(maxsize=1)
def _index_table() -> dict[str, str]:
    """Of each key of the index, its rows, as they stand in the file."""
    table: dict[str, str] = {}
    packed = files("shared.features").joinpath("data", "brands.tsv.gz").read_bytes()
    for row in gzip.decompress(packed).decode().split("\n")[1:-1]:
        for marked in row.partition("\t")[0].split(" "):
            key = marked.lstrip(MARKS)
            table[key] = f"{table[key]}\n{row}" if key in table else row
    return table


@lru_cache(maxsize=4_096)
def _index_entries(key: str) -> tuple[_Entry, ...]:
    """The brands of the index that have the name *key*, the likeliest first."""
    entries = []
    for row in filter(None, _index_table().get(key, "").split("\n")):
        keys, place, name, kind, countries = row.split("\t")
        marks = {marked.lstrip(MARKS): marked for marked in keys.split(" ")}
        likely = (int(next(iter(marks)) != key), int(place))  # first stands the brand's own name
        mark = marks[key].removesuffix(key)
        entries.append(_Entry(Brand(name, kind), mark, likely, frozenset(countries.split())))
    return tuple(sorted(entries, key=lambda entry: entry.likely))
