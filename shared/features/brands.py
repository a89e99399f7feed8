"""Look-up of a category without any labels: by brand, merchant category code or keyword.

Brand names come from two lists: first `brands` in data/categories.toml, then OpenStreetMap's
name-suggestion-index in data/brands.tsv.gz (made by local/setup/make_brands.py, licence in
data/NOTICE).
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


# Where a name may match. WHOLE: it is the line, but for numbers and places. WEAK: at the start of a
# line without a keyword of another category. START: at the start. No mark: anywhere.
WHOLE, WEAK, START = "=", "~", "^"
MARKS = WHOLE + WEAK + START

_NAME_WORDS_MAX = 7
_LINE_WORDS_MAX = 14
_ANYWHERE_MIN = 8  # letters of a name in categories.toml that may match anywhere
# What is printed before the shop: card processors, and the bank's own words.
_BEFORE = _words(
    "sq gosq tst sp ssp pp py pypl paypal sumup zettle izettle iz cke chk wpy stripe clover toast"
    " fsp evb ls klarna adyen worldpay yoco shopify shop mollie mol www http https pos purchase"
    " card payment to at visa debit contactless interac mastercard checkcard recurring authorized"
    " authorised on online achat cb carte prlv lastschrift kartenzahlung compra pagamento the help"
)
_AFTER = STORE_WORDS | REGIONS | CITIES | _words("com www online ltd inc llc plc")
# Departments of shops of other categories: `tesco petrol`.
_DEPARTMENTS = _words("Fuel Parking Pharmacy")
_CHANNEL_CATEGORIES = {"atm": "Cash", "fee": "Fees", "transfer": "Transfers", "p2p": "Transfers"}
_EURO = "AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK"

Source = Literal["mcc", "brand", "word", "channel"]


class Brand(NamedTuple):
    """A name as people write it, and one of `categories()`."""

    name: str
    category: str


class CategoryMatch(NamedTuple):
    """A category, the source of the match, and the code, name or words that matched."""

    category: str
    source: Source
    evidence: str


class _Entry(NamedTuple):
    brand: Brand
    mark: str
    rank: tuple[int, int]  # of several brands with one name, the lowest counts
    countries: frozenset[str]  # empty: everywhere
    is_ours: bool = False  # from categories.toml


def key_of(words: Sequence[str]) -> str:
    """Folded *words* as one key: `h & m`, `h&m` and `h and m` are the same.

    >>> key_of(["7", "eleven"]), key_of(["marks", "and", "spencer"])
    ('7eleven', 'marksspencer')
    """
    return "".join([word for word in words if word != "and"]).replace("&", "")


def lookup_category(row: FeatureRow) -> CategoryMatch | None:
    """The category that *row* is likely to have, without any labels; None where nothing matches.

    By order: category code, a line about cash, fees or interest, brand, keyword, channel.
    """
    if row.mcc and (category := category_of_mcc(row.mcc)):
        return CategoryMatch(category, "mcc", row.mcc)
    money_in = row.amount is not None and row.amount > 0
    hinted = detect_hints(row.line).channel
    keyword = match_keyword(row.line)
    is_fee = keyword is not None and keyword.category == "Fees"  # `atm operator fee`
    if hinted in ("atm", "fee", "interest") and not is_fee:
        return CategoryMatch(_category_of_channel(hinted, money_in), "channel", hinted)
    is_salary = money_in and "deposit" in (hinted, row.channel)  # its payer is no shop
    if not is_fee and not is_salary:
        # ISO 4217: a national currency's code begins with its country's.
        country = _EURO if row.currency == "EUR" else row.currency[:2]
        if brand := brand_of(row.line, country) or brand_of(row.merchant, country):
            return CategoryMatch(brand.category, "brand", brand.name)
    if keyword:
        return CategoryMatch(keyword.category, "word", keyword.words)
    # A memo may mention a transfer switch: there only the line counts.
    channel = hinted if row.norm_desc and row.channel in ("transfer", "p2p") else row.channel
    category = _category_of_channel(channel, money_in)
    return CategoryMatch(category, "channel", channel) if category else None


def likely_category(row: FeatureRow) -> str:
    """The name of `lookup_category`; '' where nothing matches."""
    match = lookup_category(row)
    return match.category if match else ""


def _category_of_channel(channel: str, money_in: bool) -> str:
    if channel in ("interest", "deposit"):
        return "Income" if money_in else "Fees" if channel == "interest" else ""
    return _CHANNEL_CATEGORIES.get(channel, "")


@cached(8_192)
def brand_of(line: str, country: str = "") -> Brand | None:
    """The brand in *line*; None where there is no known one.

    The longest name at the start of the line counts, after what processors and banks put before
    it; then distinctive names anywhere.

    Args:
        line: the merchant as printed, folded, as in FeatureRow.line.
        country: two-letter codes of where the account is, joined by spaces; '' unknown. It
            decides between brands of one name, and holds back names from elsewhere.

    >>> brand_of("tim hortons 2392")
    Brand(name='Tim Hortons', category='Coffee')
    """
    words = line.split()[:_LINE_WORDS_MAX]
    countries = frozenset(country.split())
    at_start = True
    for start, word in enumerate(words):
        if brand := _longest(words, start, countries, at_start=at_start):
            return brand
        at_start = at_start and (word in _BEFORE or word.isdigit())
    return None


def _longest(
    words: list[str], start: int, countries: frozenset[str], *, at_start: bool
) -> Brand | None:
    best: Brand | None = None
    for end, key in _keys_from(words, start):
        entry = _bank_entry(key) or _nearest(key, countries)
        if entry and _fits(entry, words[end:], countries, at_start=at_start):
            best = entry.brand
    return best


def _keys_from(words: list[str], start: int) -> Iterator[tuple[int, str]]:
    """The end and the key of each name that begins at *start*, the shorter first."""
    ours, index = _bank_table(), _index_table()
    key = ""
    for end in range(start, min(start + _NAME_WORDS_MAX, len(words))):
        word = words[end].replace("&", "")
        if word == "and":
            continue
        if not word.isalpha():
            bare = word.rstrip("0123456789")
            if len(bare) > 3 and (key + bare in ours or key + bare in index):
                yield end + 1, key + bare  # shoppersdrugmart0901
        key += word
        if key in ours or key in index:
            yield end + 1, key


def _nearest(key: str, countries: frozenset[str]) -> _Entry | None:
    """Of the brands with that name, the first where the account is, or worldwide, or at all."""
    entries = _index_entries(key)
    local = [entry for entry in entries if entry.countries & countries]
    worldwide = [entry for entry in entries if countries and not entry.countries]
    return next(iter(local or worldwide or entries), None)


def _fits(entry: _Entry, rest: list[str], countries: frozenset[str], *, at_start: bool) -> bool:
    foreign = bool(countries and entry.countries and not countries & entry.countries)
    if not at_start:
        return not entry.mark and not foreign
    if foreign or entry.mark == WHOLE:
        # A common word of the index is a brand only in the countries of that brand.
        near = entry.mark != WHOLE or entry.is_ours or bool(countries & entry.countries)
        return near and all(word in _AFTER or any(map(str.isdigit, word)) for word in rest)
    keyword = match_keyword(" ".join(rest)) if rest else None
    if not keyword:
        return True
    one, other = entry.brand.category, keyword.category
    if other in (one, parent_category(one)) or parent_category(other) == one:
        return True
    return entry.mark != WEAK and other not in _DEPARTMENTS


@lru_cache(maxsize=1)
def _bank_table() -> dict[str, tuple[str, str]]:
    """By key, the name in categories.toml with the most blanks, and its category."""
    names = sorted(bank_names().items(), key=lambda item: item[0].count(" "))
    return {key_of(name.lstrip(MARKS).split()): (name, category) for name, category in names}


@lru_cache(maxsize=4_096)
def _bank_entry(key: str) -> _Entry | None:
    marked, category = _bank_table().get(key, ("", ""))
    if not (name := marked.lstrip(MARKS)):
        return None
    mark = marked[: -len(name)]
    if not mark and len(key) < _ANYWHERE_MIN:
        mark = START if len(key) > 2 else WHOLE
    return _Entry(
        Brand(_display(name, category), category), mark, (0, 0), frozenset(), is_ours=True
    )


def _display(name: str, category: str) -> str:
    """The name to show: Amazon for `amazon uk marketplace`, McDonald's for `mcdonald s`."""
    starts = [name.split()[:count] for count in range(name.count(" ") + 1, 0, -1)]
    table = _bank_table()
    starts = [start for start in starts if table.get(key_of(start), ("", ""))[1] == category]
    for start in starts:
        for entry in _index_entries(key_of(start)):
            if entry.rank[0] == 0:
                return entry.brand.name
    return " ".join(map(_capital, starts[-1]))


def _capital(word: str) -> str:
    return word.upper() if len(word) < 4 and not set(word) & set("aeiou") else word.capitalize()


@lru_cache(maxsize=1)
def _index_table() -> dict[str, str]:
    """By key, the rows of the index, as they are in the file."""
    table: dict[str, str] = {}
    packed = files("shared.features").joinpath("data", "brands.tsv.gz").read_bytes()
    for row in gzip.decompress(packed).decode().split("\n")[1:-1]:
        for marked in row.partition("\t")[0].split(" "):
            key = marked.lstrip(MARKS)
            table[key] = f"{table[key]}\n{row}" if key in table else row
    return table


@lru_cache(maxsize=4_096)
def _index_entries(key: str) -> tuple[_Entry, ...]:
    """The brands of the index with the name *key*, the likeliest first."""
    entries = []
    for row in filter(None, _index_table().get(key, "").split("\n")):
        keys, position, name, category, countries = row.split("\t")
        marks = {marked.lstrip(MARKS): marked for marked in keys.split(" ")}
        rank = (int(next(iter(marks)) != key), int(position))  # the first is the brand's own name
        mark = marks[key].removesuffix(key)
        entries.append(_Entry(Brand(name, category), mark, rank, frozenset(countries.split())))
    return tuple(sorted(entries, key=lambda entry: entry.rank))
