"""Schema inference: date format, decimal mark, sign, currency and ids from a sample of rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from shared.db.tables import LABEL_MAX
from shared.errors import NotATable
from shared.statements import cell_parsers, column_names
from shared.statements.cell_parsers import CACHE_SIZE, BadCell, DecimalMark
from shared.statements.schema import ColumnParser, ImportOptions, Schema

_MONEY = ("amount", "debit", "credit")
_TEXTS = ("merchant", "description", "channel", "account")


@dataclass(slots=True, kw_only=True)
class SchemaInference:
    """Infers how a file writes its values, with one method for each field."""

    header: Sequence[str]
    positions: Mapping[str, int]  # field to position in the header, from `map_columns`
    sample: Sequence[Sequence[str]]
    delimiter: str
    options: ImportOptions
    detected: list[str] = field(default_factory=list)

    def infer(self) -> Schema:
        """Decide on every field.

        Raises:
            NotATable: the date column holds no dates, or the amount column no amounts.
        """
        named = ", ".join(f"{name} = {self.header[at]!r}" for name, at in self.positions.items())
        self.detected.append(f"columns: {named}")
        money = [value for name in _MONEY for value in self._values(name)]
        decimal = self._decimal(money)
        currency = self._currency(money)
        date = self._date(self._is_day_first(decimal, currency))
        # A row without a date is no transaction: a total below the table must not sway the sign.
        dated = [row for row in self.sample if date.parse_row_or_none(row) is not None]
        amount = self._amount(dated, decimal)
        parsers = (date, amount, *self._id(), *self._other_parsers())
        constants = self._constants(currency)
        return Schema(
            columns=(*(name for parser in parsers for name in parser.columns), *constants),
            parsers=parsers,
            ending="".join("\t" + value for value in constants.values()) + "\n",
            detected=tuple(self.detected),
        )

    def _values(self, name: str) -> list[str]:
        """The field's values in the sample; none if no column has the field."""
        position = self.positions.get(name)
        return [] if position is None else [row[position] for row in self.sample]

    def _decimal(self, money: Sequence[str]) -> DecimalMark:
        decimal, assumed = self.options.decimal, ""
        if decimal is None:
            usual: DecimalMark = "," if self.delimiter == ";" else "."
            decimal, is_shown = cell_parsers.decide_decimal(money, otherwise=usual)
            assumed = "" if is_shown else " (assumed: no value shows it)"
        self.detected.append(f"decimal mark: {decimal!r}{assumed}")
        return decimal

    def _currency(self, money: Sequence[str]) -> str:
        """The file's currency from the options, a column's name or the amounts; '' if unclear."""
        if self.options.currency:
            return cell_parsers.parse_currency(self.options.currency)
        for name in _MONEY:
            position = self.positions.get(name)
            if position is not None and (code := column_names.unit_in_name(self.header[position])):
                return code
        words = Counter(filter(None, map(cell_parsers.find_currency_word, money)))
        word, times = words.most_common(1)[0] if words else ("", 0)
        return word if times > 0.9 * words.total() or len(words) == 1 else ""

    def _is_day_first(self, decimal: DecimalMark, currency: str) -> bool:
        """Whether a date that can be read both ways begins with the day."""
        currencies = Counter(value.strip().upper() for value in self._values("currency"))
        usual = currencies.most_common(1)[0][0] if currencies else currency
        return self.delimiter == ";" or decimal == "," or usual not in ("USD", "$")

    def _date(self, day_first: bool) -> ColumnParser:
        position, name = self.positions["date"], self.options.date_format
        values = self._values("date")
        format_ = cell_parsers.decide_date(
            values,
            day_first=day_first,
            name=cell_parsers.find_date_format(name) if name else None,
        )
        if format_ is None:
            if first := next(filter(str.strip, values), ""):
                raise NotATable(
                    f"column {self.header[position]!r} holds no dates: the first value is "
                    f"{cell_parsers.quote(first)}; name the date column with --map date=COLUMN"
                )
            format_ = cell_parsers.DateFormat("yyyy-mm-dd")
        assumed = " (assumed: no date tells day from month; --date-format overrides)"
        self.detected.append(f"dates: {format_.name}{assumed if format_.assumed else ''}")
        parse = cell_parsers.date_parser(format_)
        columns = ("date", "hour_of_day")
        if "time" in self.positions:

            def parse_with_time(date: str, time: str) -> str:
                return f"{parse(date)[0]}\t{cell_parsers.parse_hour(time)}"

            return ColumnParser(columns, (position, self.positions["time"]), parse_with_time)

        @lru_cache(maxsize=CACHE_SIZE)
        def parse_joined(text: str) -> str:
            return "\t".join(parse(text))

        return ColumnParser(columns, (position,), parse_joined)

    def _amount(self, dated: Sequence[Sequence[str]], decimal: DecimalMark) -> ColumnParser:
        """The parser of the amount as it is stored, money out negative."""
        if "amount" in self.positions:
            amount, sign = self._signed_amount(dated, decimal)
        else:
            amount, sign = self._debit_or_credit(dated, decimal)
        if dated and not any(map(amount.parse_row_or_none, dated)):
            position = amount.positions[0]
            raise NotATable(
                f"column {self.header[position]!r} holds no amounts: the first value is "
                f"{cell_parsers.quote(dated[0][position])}; "
                "name the amount column with --map amount=COLUMN"
            )
        self.detected.append(f"sign: {sign}")
        return amount

    def _signed_amount(
        self, dated: Sequence[Sequence[str]], decimal: DecimalMark
    ) -> tuple[ColumnParser, str]:
        """The parser of one amount column, and what its sign means: the first rule that applies."""
        position, sign = self.positions["amount"], self.options.sign
        values = [row[position] for row in dated]
        has_credits = cell_parsers.credits_only(values)
        parse = cell_parsers.amount_parser(decimal, credit_negative=has_credits)
        as_written = ColumnParser(("amount",), (position,), lru_cache(maxsize=CACHE_SIZE)(parse))
        negated = ColumnParser(("amount",), (position,), _negated(parse))
        if sign == "spend-negative":
            return as_written, "spend-negative (as told)"
        if sign == "spend-positive":
            return negated, "spend-positive (as told)"
        if has_credits:
            return negated, "spend-positive (credits are marked CR; --sign overrides)"
        type_position = self.positions.get("type")
        if type_position is not None and _are_types([row[type_position] for row in dated]):
            by_type = ColumnParser(("amount",), (position, type_position), _signed_by_type(parse))
            return by_type, "the type column tells debit from credit"
        if any(value.lstrip().startswith("+") for value in values):
            reason = "spend-negative (money in is written with a plus; --sign overrides)"
            return as_written, reason
        numbers = [as_written.parse_row_or_none(row) for row in self._spending(dated)]
        signs = Counter(
            "negative" if number[0] == "-" else "positive" for number in numbers if number
        )
        majority = "positive" if signs["positive"] > signs["negative"] else "negative"
        counts = f"{signs[majority]:,} of the first {signs.total():,} amounts are {majority}"
        parser = negated if majority == "positive" else as_written
        return parser, f"spend-{majority} ({counts}; --sign overrides)"

    def _spending(self, dated: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
        """The rows that are not labelled as income; all rows if there are no others."""
        position = self.positions.get("label")
        if position is None:
            return dated
        labels = [column_names.normalize_name(row[position]) for row in dated]
        pairs = zip(dated, labels, strict=True)
        return [row for row, label in pairs if label not in column_names.INCOME] or dated

    def _debit_or_credit(
        self, dated: Sequence[Sequence[str]], decimal: DecimalMark
    ) -> tuple[ColumnParser, str]:
        """The parser of a debit and a credit column, or one of them; a debit may have a minus."""
        parse = cell_parsers.amount_parser(decimal)
        sides = [side for side in ("debit", "credit") if side in self.positions]
        signs: Counter[bool] = Counter()
        if "debit" in sides:
            debit = ColumnParser(("amount",), (self.positions["debit"],), parse)
            numbers = filter(None, map(debit.parse_row_or_none, dated))
            signs.update(number.startswith("-") for number in numbers)
        parser = ColumnParser(
            ("amount",),
            tuple(self.positions[side] for side in sides),
            _sides_parser(sides, parse, debit_negative=signs[True] > signs[False]),
        )
        return parser, f"from the {' and '.join(sides)} column" + "s" * (len(sides) - 1)

    def _id(self) -> tuple[ColumnParser, ...]:
        """The parser of the file's own transaction ids, if it has a column of them."""
        position = self.positions.get("id")
        fault = "no id column" if position is None else self._fault_of_ids(position)
        if position is None or fault:
            self.detected.append(f"ids: made from the rows' contents ({fault})")
            return ()
        name = self.header[position]
        self.detected.append(f"ids: column {name!r}")
        parse_text = cell_parsers.text_parser("id")

        def parse(value: str) -> str:
            text = parse_text(value)
            if text == "\\N":
                raise BadCell(f"no {name}")
            return text

        def parse_all(values: Sequence[str]) -> Iterable[str]:
            return parse_texts(values) if all(map(str.strip, values)) else map(parse, values)

        parse_texts = cell_parsers.texts_parser(parse)
        return (ColumnParser(("external_id",), (position,), parse, parse_all),)

    def _fault_of_ids(self, position: int) -> str:
        """Why the values of a column are no ids; '' if they are, or if the options name it."""
        ids = [value.strip() for value in self._values("id")]
        name = self.header[position]
        if "id" in self.options.columns:
            return ""
        if len(set(filter(None, ids))) * 2 < len(ids):
            return f"column {name!r} repeats or is empty"
        if name.strip().lower() == "id" and _are_row_numbers(ids):
            return f"column {name!r} only numbers the rows"
        return ""

    def _other_parsers(self) -> Iterator[ColumnParser]:
        positions = self.positions
        if "currency" in positions:
            parse = cell_parsers.parse_currency
            yield ColumnParser(("currency",), (positions["currency"],), parse)
        for name in _TEXTS:
            if name in positions and not (name == "account" and self.options.account):
                yield _text(name, positions[name])
        if "mcc" in positions:
            yield ColumnParser(("mcc",), (positions["mcc"],), _parse_mcc)
        if "label" in positions:
            yield _text("label", positions["label"], LABEL_MAX)

    def _constants(self, currency: str) -> dict[str, str]:
        """Columns that have one value for the whole file."""
        constants = {}
        if "currency" not in self.positions and currency:
            constants["currency"] = currency
            self.detected.append(f"currency: {currency}")
        if self.options.account:
            constants["account"] = cell_parsers.text_parser("account")(self.options.account)
        return constants


def _text(name: str, position: int, limit: int = cell_parsers.TEXT_MAX) -> ColumnParser:
    parse = cell_parsers.text_parser(name, limit)
    return ColumnParser((name,), (position,), parse, cell_parsers.texts_parser(parse, limit))


def _negated(parse: Callable[[str], str]) -> Callable[[str], str]:
    @lru_cache(maxsize=CACHE_SIZE)
    def parse_negated(text: str) -> str:
        return _negate(parse(text))

    return parse_negated


def _signed_by_type(parse: Callable[[str], str]) -> Callable[[str, str], str]:
    """A parser of an amount whose sign is in another column: debit or credit."""

    @lru_cache(maxsize=CACHE_SIZE)
    def parse_typed(text: str, type_: str) -> str:
        number = parse(text).lstrip("-")
        side = column_names.normalize_name(type_)
        if side not in column_names.OUT | column_names.IN:
            raise BadCell(f"type {cell_parsers.quote(type_)}: expected debit or credit")
        return "-" + number if side in column_names.OUT else number

    return parse_typed


def _sides_parser(
    sides: Sequence[str], parse: Callable[[str], str], *, debit_negative: bool
) -> Callable[..., str]:
    """A parser of the cells of debit and credit, of which one holds the amount.

    Args:
        debit_negative: a debit is written with a minus already.
    """

    @lru_cache(maxsize=CACHE_SIZE)
    def parse_sides(*cells: str) -> str:
        numbers = [
            (side, parse(cell))
            for side, cell in zip(sides, cells, strict=True)
            if cell.strip() and (len(sides) == 1 or re.search(r"[1-9]", cell))
        ]
        if len(numbers) > 1:
            raise BadCell("both a debit and a credit")
        if numbers:
            side, number = numbers[0]
            return number if side == "credit" or debit_negative else _negate(number)
        if any(re.search(r"\d", cell) for cell in cells):
            return "0"
        raise BadCell("no amount")

    return parse_sides


def _negate(number: str) -> str:
    return number[1:] if number[0] == "-" else "-" + number


def _are_types(values: Sequence[str]) -> bool:
    """Whether at least 90% of a column says debit or credit."""
    sides = column_names.OUT | column_names.IN
    count = sum(column_names.normalize_name(value) in sides for value in values)
    return count > 0 and count >= 0.9 * len(values)


def _are_row_numbers(ids: Sequence[str]) -> bool:
    """Whether ids are 1, 2, 3 …: the next file's would be the same for other transactions."""
    counts = [[str(number + start) for number in range(len(ids))] for start in (0, 1)]
    return bool(ids) and list(ids) in counts


@lru_cache(maxsize=4096)
def _parse_mcc(text: str) -> str:
    """A merchant category code, or COPY's null if the text is none."""
    match = re.match(r"\s*(\d{4})(?!\d)", text)
    return match[1] if match else "\\N"
