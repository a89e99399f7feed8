"""What the cells of a file mean: which column is what, and how a row becomes a line for COPY."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from shared import csv_columns, csv_values
from shared.csv_values import BadCell, Mark, Sign
from shared.errors import NotATable
from shared.tables import LABEL_MAX

_JOIN = "\x1f"  # between the cells that together make one value, as debit and credit do
_TEXTS = ("merchant", "description", "channel", "account")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What a person says about a file; what is left out is found in the file itself."""

    user: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # field to column name
    delimiter: str | None = None
    encoding: str | None = None
    date_format: str | None = None
    decimal: Mark | None = None
    sign: Sign | None = None
    currency: str | None = None
    account: str | None = None
    rejects: Path | None = None


class Cell(NamedTuple):
    """One value of the line for COPY: the cells it is made of, and how."""

    columns: tuple[str, ...]
    places: tuple[int, ...]
    parse: Callable[[str], str]
    parse_all: Callable[[Sequence[str]], Iterable[str]] | None = None  # where that is faster


class Meaning(NamedTuple):
    """How the rows of one file are read."""

    columns: tuple[str, ...]  # of the line for COPY, after the line number
    line: Callable[[Sequence[str]], str]
    lines: Callable[[Sequence[int], Sequence[Sequence[str]]], str]  # with their numbers before
    detected: tuple[str, ...]  # for the person: what was found, and why


def meaning_of(
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    *,
    delimiter: str,
    options: ImportOptions,
) -> Meaning:
    """Find out how a file writes its values.

    Raises:
        NotATable: its date column holds no dates, or its amount column no amounts.
    """
    places = csv_columns.understood(header, options.columns)

    def values(name: str) -> Iterator[str]:
        place = places.get(name)
        if place is not None:
            yield from (row[place] for row in sample)

    found = ["columns: " + ", ".join(f"{name} = {header[at]!r}" for name, at in places.items())]
    money = [value for name in ("amount", "debit", "credit") for value in values(name)]
    decimal, seen = options.decimal, True
    if decimal is None:
        decimal, seen = csv_values.decide_decimal(money, otherwise="," if delimiter == ";" else ".")
    found.append(f"decimal mark: {decimal!r}" + ("" if seen else " (assumed: no value shows it)"))
    currency = _currency(places, header, money, options)
    coins = Counter(value.strip().upper() for value in values("currency"))
    mostly = coins.most_common(1)[0][0] if coins else currency
    day_first = delimiter == ";" or decimal == "," or mostly not in ("USD", "$")
    date, how = _date(places, header, sample, options, day_first)
    # What has no date is no transaction: a total below the table must not sway the sign.
    dated = [row for row in sample if _taken(date, row) is not None]
    amount, why = _amount(places, dated, decimal, options)
    if dated and not any(_taken(amount, row) for row in dated):
        raise NotATable(
            f"column {header[amount.places[0]]!r} holds no amounts: the first value is "
            f"{csv_values.shown(dated[0][amount.places[0]])}; "
            "name the amount column with --map amount=COLUMN"
        )
    found += [how, why]
    cells = [date, amount]
    if (name := _id(places, header, sample, options, found)) is not None:
        cells.append(name)
    if "currency" in places:
        cells.append(Cell(("currency",), (places["currency"],), csv_values.currency_of))
    cells += [
        _text(name, places[name])
        for name in _TEXTS
        if name in places and not (name == "account" and options.account)
    ]
    if "mcc" in places:
        cells.append(Cell(("mcc",), (places["mcc"],), _mcc))
    if "label" in places:
        cells.append(_text("label", places["label"], LABEL_MAX))
    fixed = {}
    if "currency" not in places and currency:
        fixed["currency"] = currency
        found.append(f"currency: {currency}")
    if options.account:
        fixed["account"] = csv_values.text_parser("account")(options.account)
    ending = "".join("\t" + value for value in fixed.values()) + "\n"

    def line(row: Sequence[str]) -> str:
        return "\t".join([cell.parse(_joined(cell, row)) for cell in cells]) + ending

    def lines(numbers: Sequence[int], rows: Sequence[Sequence[str]]) -> str:
        # Column by column: a loop within C for each is a third of the time of row by row.
        by_column = list(zip(*rows, strict=True))
        parsed = [_column(cell, [by_column[place] for place in cell.places]) for cell in cells]
        return ending.join(map("\t".join, zip(map(str, numbers), *parsed, strict=True))) + ending

    columns = (*(name for cell in cells for name in cell.columns), *fixed)
    return Meaning(columns, line, lines, tuple(found))


def _column(cell: Cell, given: Sequence[Sequence[str]]) -> Iterable[str]:
    if cell.parse_all:
        return cell.parse_all(given[0])
    texts = given[0] if len(given) == 1 else map(_JOIN.join, zip(*given, strict=True))
    return map(cell.parse, texts)


def _joined(cell: Cell, row: Sequence[str]) -> str:
    return _JOIN.join([row[place] for place in cell.places])


def _text(name: str, place: int, limit: int = csv_values.TEXT_MAX) -> Cell:
    parse = csv_values.text_parser(name, limit)
    return Cell((name,), (place,), parse, csv_values.texts_parser(parse, limit))


def _taken(cell: Cell, row: Sequence[str]) -> str | None:
    """The value of a sample's row, or None where it has none that can be taken."""
    try:
        return cell.parse(_joined(cell, row))
    except BadCell:
        return None


def _date(
    places: Mapping[str, int],
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    options: ImportOptions,
    day_first: bool,
) -> tuple[Cell, str]:
    place = places["date"]
    values = [row[place] for row in sample]
    found = csv_values.decide_date(
        values,
        day_first=day_first,
        name=csv_values.date_format_named(options.date_format) if options.date_format else None,
    )
    if found is None:
        if any(value.strip() for value in values):
            first = next(value for value in values if value.strip())
            raise NotATable(
                f"column {header[place]!r} holds no dates: the first value is "
                f"{csv_values.shown(first)}; name the date column with --map date=COLUMN"
            )
        found = csv_values.DateFormat("yyyy-mm-dd")
    how = f"dates: {found.name}" + (
        " (assumed: no date tells day from month; --date-format overrides)" if found.assumed else ""
    )
    parse = csv_values.date_parser(found)
    if "time" not in places:

        @lru_cache(maxsize=csv_values.MEMORY)
        def alone(text: str) -> str:
            return "\t".join(parse(text))

        return Cell(("date", "hour_of_day"), (place,), alone), how

    def with_time(text: str) -> str:
        day, _, time = text.partition(_JOIN)
        return f"{parse(day)[0]}\t{csv_values.hour_of(time)}"

    return Cell(("date", "hour_of_day"), (place, places["time"]), with_time), how


def _amount(
    places: Mapping[str, int],
    sample: Sequence[Sequence[str]],
    decimal: Mark,
    options: ImportOptions,
) -> tuple[Cell, str]:
    """The amount as the database has it, money out negative; and why its sign is what it is."""
    if "amount" not in places:
        return _two_columns(places, sample, decimal)
    place = places["amount"]
    values = [row[place] for row in sample]
    credit_negative = csv_values.credits_only(values)
    parse = csv_values.amount_parser(decimal, credit_negative=credit_negative)
    if options.sign is not None:
        return _signed(place, parse, options.sign), f"sign: {options.sign} (as told)"
    if credit_negative:
        why = "sign: spend-positive (credits are marked CR; --sign overrides)"
        return _signed(place, parse, "spend-positive"), why
    if "type" in places and _tells_side(row[places["type"]] for row in sample):

        @lru_cache(maxsize=csv_values.MEMORY)
        def typed(text: str) -> str:
            value, _, side = text.partition(_JOIN)
            number = parse(value).lstrip("-")
            side_ = csv_columns.plain(side)
            if side_ not in csv_columns.OUT | csv_columns.IN:
                raise BadCell(f"type {csv_values.shown(side)}: expected debit or credit")
            return "-" + number if side_ in csv_columns.OUT else number

        why = "sign: the type column tells debit from credit"
        return Cell(("amount",), (place, places["type"]), typed), why
    if any(value.lstrip().startswith("+") for value in values):
        why = "sign: spend-negative (money in is written with a plus; --sign overrides)"
        return _signed(place, parse, "spend-negative"), why
    if "label" in places:
        spending = [
            row
            for row in sample
            if csv_columns.plain(row[places["label"]]) not in csv_columns.INCOME
        ]
        sample = spending or sample
    numbers = [_taken(Cell(("amount",), (place,), parse), row) for row in sample]
    negative = sum(1 for number in numbers if number and number.startswith("-"))
    positive = sum(1 for number in numbers if number and not number.startswith("-"))
    sign: Sign = "spend-positive" if positive > negative else "spend-negative"
    total = positive + negative
    more = max(positive, negative)
    kind = "positive" if positive > negative else "negative"
    why = f"sign: {sign} ({more:,} of the first {total:,} amounts are {kind}; --sign overrides)"
    return _signed(place, parse, sign), why


def _signed(place: int, parse: Callable[[str], str], sign: Sign) -> Cell:
    if sign == "spend-negative":
        return Cell(("amount",), (place,), lru_cache(maxsize=csv_values.MEMORY)(parse))

    @lru_cache(maxsize=csv_values.MEMORY)
    def negated(text: str) -> str:
        number = parse(text)
        return number[1:] if number[0] == "-" else "-" + number

    return Cell(("amount",), (place,), negated)


def _two_columns(
    places: Mapping[str, int], sample: Sequence[Sequence[str]], decimal: Mark
) -> tuple[Cell, str]:
    """Debit and credit apart, or one of them alone; a debit may be written with a minus."""
    parse = csv_values.amount_parser(decimal)
    sides = [name for name in ("debit", "credit") if name in places]
    written: Counter[bool] = Counter()
    if "debit" in places:
        debit = Cell(("amount",), (places["debit"],), parse)
        written.update(
            number.startswith("-") for row in sample if (number := _taken(debit, row)) is not None
        )
    minus = written[True] > written[False]

    @lru_cache(maxsize=csv_values.MEMORY)
    def parse_sides(text: str) -> str:
        given = [
            (side, parse(value))
            for side, value in zip(sides, text.split(_JOIN), strict=True)
            if value.strip() and (len(sides) == 1 or re.search(r"[1-9]", value))
        ]
        if len(given) > 1:
            raise BadCell("both a debit and a credit")
        if not given:
            if re.search(r"\d", text):
                return "0"
            raise BadCell("no amount")
        side, number = given[0]
        if side == "credit" or minus:
            return number
        return number[1:] if number[0] == "-" else "-" + number

    cell = Cell(("amount",), tuple(places[side] for side in sides), parse_sides)
    return cell, f"sign: from the {' and '.join(sides)} column" + "s" * (len(sides) - 1)


def _tells_side(values: Iterator[str]) -> bool:
    sides = [csv_columns.plain(value) for value in values]
    known = sum(side in csv_columns.OUT | csv_columns.IN for side in sides)
    return known > 0 and known >= 0.9 * len(sides)


def _currency(
    places: Mapping[str, int], header: Sequence[str], money: Sequence[str], options: ImportOptions
) -> str:
    """The currency of the whole file, told, in a column's name or beside its amounts; or ''."""
    if options.currency:
        return csv_values.currency_of(options.currency)
    for name in ("amount", "debit", "credit"):
        if name in places and (code := csv_columns.unit(header[places[name]])):
            return code
    words = Counter(filter(None, map(csv_values.money_word, money)))
    word, times = words.most_common(1)[0] if words else ("", 0)
    return word if times > 0.9 * words.total() or len(words) == 1 else ""


def _id(
    places: Mapping[str, int],
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    options: ImportOptions,
    found: list[str],
) -> Cell | None:
    """The file's own id of a transaction, where it has one that can be trusted to be one."""
    place = places.get("id")
    if place is None:
        found.append("ids: made from the rows' contents (no id column)")
        return None
    given = [row[place].strip() for row in sample]
    fault = None
    if "id" not in options.columns:
        if len(set(filter(None, given))) * 2 < len(given):
            fault = "repeats or is empty"
        elif header[place].strip().lower() == "id" and _only_counts(given):
            fault = "only numbers the rows"
    if fault:
        found.append(f"ids: made from the rows' contents (column {header[place]!r} {fault})")
        return None
    text = csv_values.text_parser("id")

    def parse(value: str) -> str:
        taken = text(value)
        if taken == "\\N":
            raise BadCell(f"no {header[place]}")
        return taken

    def parse_all(values: Sequence[str]) -> Iterable[str]:
        return all_texts(values) if all(map(str.strip, values)) else map(parse, values)

    all_texts = csv_values.texts_parser(parse)
    found.append(f"ids: column {header[place]!r}")
    return Cell(("external_id",), (place,), parse, parse_all)


def _only_counts(given: Sequence[str]) -> bool:
    """Whether ids are 1, 2, 3 …: the next file's would be the same for other transactions."""
    counts = [[str(number + start) for number in range(len(given))] for start in (0, 1)]
    return bool(given) and list(given) in counts


@lru_cache(maxsize=4096)
def _mcc(text: str) -> str:
    """A merchant category code; what is none is left out."""
    found = re.match(r"\s*(\d{4})(?!\d)", text)
    return found[1] if found else "\\N"
