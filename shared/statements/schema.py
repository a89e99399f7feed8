"""What the cells of a file mean: which column is what, and how a row becomes a line for COPY."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from shared.db.tables import LABEL_MAX
from shared.errors import NotATable
from shared.statements import cell_parsers, column_names
from shared.statements.cell_parsers import BadCell, DecimalMark, Sign

_JOIN = "\x1f"  # between the cells that together make one value, as debit and credit do
_MONEY = ("amount", "debit", "credit")
_TEXTS = ("merchant", "description", "channel", "account")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What a person says about a file; what is left out is found in the file itself."""

    user: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # field to column name
    delimiter: str | None = None
    encoding: str | None = None
    date_format: str | None = None
    decimal: DecimalMark | None = None
    sign: Sign | None = None
    currency: str | None = None
    account: str | None = None
    rejects: Path | None = None


class ColumnParser(NamedTuple):
    """One value of the line for COPY: the cells it is made of, and how."""

    columns: tuple[str, ...]
    places: tuple[int, ...]
    parse: Callable[[str], str]
    parse_all: Callable[[Sequence[str]], Iterable[str]] | None = None  # where that is faster

    def of_row(self, row: Sequence[str]) -> str:
        """The value of one row; BadCell if it has none that can be taken."""
        return self.parse(_JOIN.join([row[place] for place in self.places]))

    def of_row_or_none(self, row: Sequence[str]) -> str | None:
        try:
            return self.of_row(row)
        except BadCell:
            return None

    def of_columns(self, by_column: Sequence[Sequence[str]]) -> Iterable[str]:
        """The values of many rows, which are given column by column."""
        given = [by_column[place] for place in self.places]
        if self.parse_all:
            return self.parse_all(given[0])
        texts = given[0] if len(given) == 1 else map(_JOIN.join, zip(*given, strict=True))
        return map(self.parse, texts)


class Schema(NamedTuple):
    """How the rows of one file are read."""

    columns: tuple[str, ...]  # of the line for COPY, after the line number
    cells: tuple[ColumnParser, ...]
    ending: str  # of each line: the values that are the same for the whole file
    detected: tuple[str, ...]  # for the person: what was found, and why

    def line(self, row: Sequence[str]) -> str:
        """One row for COPY, without its number; BadCell if a value cannot be taken."""
        return "\t".join([cell.of_row(row) for cell in self.cells]) + self.ending

    def lines(self, numbers: Sequence[int], rows: Sequence[Sequence[str]]) -> str:
        """Many rows for COPY, each behind its number; BadCell if a value cannot be taken."""
        # Column by column: a loop within C for each is a third of the time of row by row.
        by_column = list(zip(*rows, strict=True))
        parsed = [cell.of_columns(by_column) for cell in self.cells]
        values = zip(map(str, numbers), *parsed, strict=True)
        return self.ending.join(map("\t".join, values)) + self.ending


class SchemaInference:
    """Finds out from a sample how a file writes its values: one method for each field."""

    def __init__(
        self,
        header: Sequence[str],
        places: Mapping[str, int],
        sample: Sequence[Sequence[str]],
        *,
        delimiter: str,
        options: ImportOptions,
    ) -> None:
        """Take what is known of the file.

        Args:
            places: field to its place in the header, as `csv_columns.understood` gives it.
        """
        self._header = header
        self._places = places
        self._sample = sample
        self._semicolons = delimiter == ";"
        self._options = options
        self._detected: list[str] = []

    def infer(self) -> Schema:
        """Decide on every field.

        Raises:
            NotATable: the date column holds no dates, or the amount column no amounts.
        """
        named = ", ".join(f"{name} = {self._header[at]!r}" for name, at in self._places.items())
        self._detected.append(f"columns: {named}")
        money = [value for name in _MONEY for value in self._values(name)]
        decimal = self._decimal(money)
        currency = self._currency(money)
        date = self._date(self._is_day_first(decimal, currency))
        # What has no date is no transaction: a total below the table must not sway the sign.
        dated = [row for row in self._sample if date.of_row_or_none(row) is not None]
        amount = self._amount(dated, decimal)
        cells = (date, amount, *self._id(), *self._other_cells())
        fixed = self._fixed(currency)
        return Schema(
            columns=(*(name for cell in cells for name in cell.columns), *fixed),
            cells=cells,
            ending="".join("\t" + value for value in fixed.values()) + "\n",
            detected=tuple(self._detected),
        )

    def _values(self, name: str) -> list[str]:
        """The field's values in the sample; none if no column has the field."""
        place = self._places.get(name)
        return [] if place is None else [row[place] for row in self._sample]

    def _decimal(self, money: Sequence[str]) -> DecimalMark:
        decimal, is_shown = self._options.decimal, True
        if decimal is None:
            usual: DecimalMark = "," if self._semicolons else "."
            decimal, is_shown = cell_parsers.decide_decimal(money, otherwise=usual)
        assumed = "" if is_shown else " (assumed: no value shows it)"
        self._detected.append(f"decimal mark: {decimal!r}{assumed}")
        return decimal

    def _currency(self, money: Sequence[str]) -> str:
        """The file's currency: the option's, a column name's or the amounts' own; or ''."""
        if self._options.currency:
            return cell_parsers.parse_currency(self._options.currency)
        for name in _MONEY:
            place = self._places.get(name)
            if place is not None and (code := column_names.unit_in_name(self._header[place])):
                return code
        words = Counter(filter(None, map(cell_parsers.find_currency_word, money)))
        word, times = words.most_common(1)[0] if words else ("", 0)
        return word if times > 0.9 * words.total() or len(words) == 1 else ""

    def _is_day_first(self, decimal: DecimalMark, currency: str) -> bool:
        """Whether a date that can be read both ways begins with the day."""
        written = Counter(value.strip().upper() for value in self._values("currency"))
        usual = written.most_common(1)[0][0] if written else currency
        return self._semicolons or decimal == "," or usual not in ("USD", "$")

    def _date(self, day_first: bool) -> ColumnParser:
        place, name = self._places["date"], self._options.date_format
        values = self._values("date")
        found = cell_parsers.decide_date(
            values,
            day_first=day_first,
            name=cell_parsers.find_date_format(name) if name else None,
        )
        if found is None:
            if first := next(filter(str.strip, values), ""):
                raise NotATable(
                    f"column {self._header[place]!r} holds no dates: the first value is "
                    f"{cell_parsers.quote(first)}; name the date column with --map date=COLUMN"
                )
            found = cell_parsers.DateFormat("yyyy-mm-dd")
        assumed = " (assumed: no date tells day from month; --date-format overrides)"
        self._detected.append(f"dates: {found.name}{assumed if found.assumed else ''}")
        parse = cell_parsers.date_parser(found)
        if "time" in self._places:
            return _date_with_time((place, self._places["time"]), parse)

        @lru_cache(maxsize=cell_parsers.CACHE_SIZE)
        def parse_joined(text: str) -> str:
            return "\t".join(parse(text))

        return ColumnParser(("date", "hour_of_day"), (place,), parse_joined)

    def _amount(self, dated: Sequence[Sequence[str]], decimal: DecimalMark) -> ColumnParser:
        """The amount as the database has it, money out negative."""
        if "amount" in self._places:
            amount, sign = self._signed_amount(dated, decimal)
        else:
            amount, sign = self._debit_or_credit(dated, decimal)
        if dated and not any(map(amount.of_row_or_none, dated)):
            place = amount.places[0]
            raise NotATable(
                f"column {self._header[place]!r} holds no amounts: the first value is "
                f"{cell_parsers.quote(dated[0][place])}; "
                "name the amount column with --map amount=COLUMN"
            )
        self._detected.append(f"sign: {sign}")
        return amount

    def _signed_amount(
        self, dated: Sequence[Sequence[str]], decimal: DecimalMark
    ) -> tuple[ColumnParser, str]:
        """One column of amounts, and what its sign means: the first test that holds decides."""
        place, told = self._places["amount"], self._options.sign
        values = [row[place] for row in dated]
        type_place = self._places.get("type", place)
        has_types = "type" in self._places and _are_types([row[type_place] for row in dated])
        has_plus = any(value.lstrip().startswith("+") for value in values)
        has_credits = cell_parsers.credits_only(values)
        parse = cell_parsers.amount_parser(decimal, credit_negative=has_credits)
        as_written, negated = _as_written(place, parse), _negated(place, parse)
        tests = (
            (told == "spend-negative", as_written, "spend-negative (as told)"),
            (told == "spend-positive", negated, "spend-positive (as told)"),
            (has_credits, negated, "spend-positive (credits are marked CR; --sign overrides)"),
            (has_types, _by_type(place, type_place, parse),
             "the type column tells debit from credit"),
            (has_plus, as_written,
             "spend-negative (money in is written with a plus; --sign overrides)"),
        )  # fmt: skip
        for holds, cell, reason in tests:
            if holds:
                return cell, reason
        numbers = [as_written.of_row_or_none(row) for row in self._spending(dated)]
        signs = Counter(
            "negative" if number[0] == "-" else "positive" for number in numbers if number
        )
        majority = "positive" if signs["positive"] > signs["negative"] else "negative"
        counted = f"{signs[majority]:,} of the first {signs.total():,} amounts are {majority}"
        cell = negated if majority == "positive" else as_written
        return cell, f"spend-{majority} ({counted}; --sign overrides)"

    def _spending(self, dated: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
        """The rows whose label is no income; all rows where that leaves none."""
        place = self._places.get("label")
        if place is None:
            return dated
        income = column_names.INCOME
        return [
            row for row in dated if column_names.normalize_name(row[place]) not in income
        ] or dated

    def _debit_or_credit(
        self, dated: Sequence[Sequence[str]], decimal: DecimalMark
    ) -> tuple[ColumnParser, str]:
        """Debit and credit apart, or one of them alone; a debit may be written with a minus."""
        parse = cell_parsers.amount_parser(decimal)
        sides = [side for side in ("debit", "credit") if side in self._places]
        minus: Counter[bool] = Counter()
        if "debit" in sides:
            debit = ColumnParser(("amount",), (self._places["debit"],), parse)
            numbers = filter(None, map(debit.of_row_or_none, dated))
            minus.update(number.startswith("-") for number in numbers)
        cell = ColumnParser(
            ("amount",),
            tuple(self._places[side] for side in sides),
            _sides_parser(sides, parse, minus=minus[True] > minus[False]),
        )
        return cell, f"from the {' and '.join(sides)} column" + "s" * (len(sides) - 1)

    def _id(self) -> tuple[ColumnParser, ...]:
        """The file's own id of a transaction, where it has one that can be trusted to be one."""
        place = self._places.get("id")
        fault = "no id column" if place is None else self._fault_of_ids(place)
        if place is None or fault:
            self._detected.append(f"ids: made from the rows' contents ({fault})")
            return ()
        name = self._header[place]
        self._detected.append(f"ids: column {name!r}")
        parse_text = cell_parsers.text_parser("id")

        def parse(value: str) -> str:
            taken = parse_text(value)
            if taken == "\\N":
                raise BadCell(f"no {name}")
            return taken

        def parse_all(values: Sequence[str]) -> Iterable[str]:
            return all_texts(values) if all(map(str.strip, values)) else map(parse, values)

        all_texts = cell_parsers.texts_parser(parse)
        return (ColumnParser(("external_id",), (place,), parse, parse_all),)

    def _fault_of_ids(self, place: int) -> str:
        """Why a column that nobody named is no id; '' if it is one."""
        ids = [value.strip() for value in self._values("id")]
        name = self._header[place]
        if "id" in self._options.columns:
            return ""
        if len(set(filter(None, ids))) * 2 < len(ids):
            return f"column {name!r} repeats or is empty"
        if name.strip().lower() == "id" and _only_counts(ids):
            return f"column {name!r} only numbers the rows"
        return ""

    def _other_cells(self) -> Iterator[ColumnParser]:
        if "currency" in self._places:
            yield ColumnParser(
                ("currency",), (self._places["currency"],), cell_parsers.parse_currency
            )
        for name in _TEXTS:
            if name in self._places and not (name == "account" and self._options.account):
                yield _text(name, self._places[name])
        if "mcc" in self._places:
            yield ColumnParser(("mcc",), (self._places["mcc"],), _mcc)
        if "label" in self._places:
            yield _text("label", self._places["label"], LABEL_MAX)

    def _fixed(self, currency: str) -> dict[str, str]:
        """Columns that have one value for the whole file."""
        fixed = {}
        if "currency" not in self._places and currency:
            fixed["currency"] = currency
            self._detected.append(f"currency: {currency}")
        if self._options.account:
            fixed["account"] = cell_parsers.text_parser("account")(self._options.account)
        return fixed


def _text(name: str, place: int, limit: int = cell_parsers.TEXT_MAX) -> ColumnParser:
    parse = cell_parsers.text_parser(name, limit)
    return ColumnParser((name,), (place,), parse, cell_parsers.texts_parser(parse, limit))


def _date_with_time(
    places: tuple[int, int], parse: Callable[[str], tuple[str, str]]
) -> ColumnParser:
    def parse_both(text: str) -> str:
        day, _, time = text.partition(_JOIN)
        return f"{parse(day)[0]}\t{cell_parsers.parse_hour(time)}"

    return ColumnParser(("date", "hour_of_day"), places, parse_both)


def _as_written(place: int, parse: Callable[[str], str]) -> ColumnParser:
    return ColumnParser(("amount",), (place,), lru_cache(maxsize=cell_parsers.CACHE_SIZE)(parse))


def _negated(place: int, parse: Callable[[str], str]) -> ColumnParser:
    @lru_cache(maxsize=cell_parsers.CACHE_SIZE)
    def parse_negated(text: str) -> str:
        return _negative_of(parse(text))

    return ColumnParser(("amount",), (place,), parse_negated)


def _by_type(place: int, type_place: int, parse: Callable[[str], str]) -> ColumnParser:
    """An amount whose sign another column gives: debit or credit."""

    @lru_cache(maxsize=cell_parsers.CACHE_SIZE)
    def parse_typed(text: str) -> str:
        value, _, type_ = text.partition(_JOIN)
        number = parse(value).lstrip("-")
        side = column_names.normalize_name(type_)
        if side not in column_names.OUT | column_names.IN:
            raise BadCell(f"type {cell_parsers.quote(type_)}: expected debit or credit")
        return "-" + number if side in column_names.OUT else number

    return ColumnParser(("amount",), (place, type_place), parse_typed)


def _sides_parser(
    sides: Sequence[str], parse: Callable[[str], str], *, minus: bool
) -> Callable[[str], str]:
    """A parser of the cells of debit and credit, of which one holds the amount.

    Args:
        minus: a debit is written with a minus already.
    """

    @lru_cache(maxsize=cell_parsers.CACHE_SIZE)
    def parse_sides(text: str) -> str:
        given = [
            (side, parse(value))
            for side, value in zip(sides, text.split(_JOIN), strict=True)
            if value.strip() and (len(sides) == 1 or re.search(r"[1-9]", value))
        ]
        if len(given) > 1:
            raise BadCell("both a debit and a credit")
        if given:
            side, number = given[0]
            return number if side == "credit" or minus else _negative_of(number)
        if re.search(r"\d", text):
            return "0"
        raise BadCell("no amount")

    return parse_sides


def _negative_of(number: str) -> str:
    return number[1:] if number[0] == "-" else "-" + number


def _are_types(values: Sequence[str]) -> bool:
    """Whether nearly all of a column says debit or credit."""
    sides = column_names.OUT | column_names.IN
    count = sum(column_names.normalize_name(value) in sides for value in values)
    return count > 0 and count >= 0.9 * len(values)


def _only_counts(given: Sequence[str]) -> bool:
    """Whether ids are 1, 2, 3 …: the next file's would be the same for other transactions."""
    counts = [[str(number + start) for number in range(len(given))] for start in (0, 1)]
    return bool(given) and list(given) in counts


@lru_cache(maxsize=4096)
def _mcc(text: str) -> str:
    """A merchant category code; what is none is left out."""
    found = re.match(r"\s*(\d{4})(?!\d)", text)
    return found[1] if found else "\\N"
