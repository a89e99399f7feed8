"""Feature extraction: from a transaction to a feature row, the same for training and serving."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import NamedTuple

from shared.text.cache import cached
from shared.text.channel_hints import CHANNELS, NO_HINTS, Hints, detect_hints, find_channel
from shared.text.normalize import clean_description, clean_merchant, printable, spaced

__all__ = ["CHANNELS", "FEATURE_VERSION", "FeatureRow", "RawTransaction", "features_of"]

# Raise it when features_of gives any other result: stored features are then rebuilt.
FEATURE_VERSION = 1
LINE_MAX = 120  # characters; a longer line is a sentence, not a name

_SATURDAY = 5
_NO_DESCRIPTION = ("", NO_HINTS)
_MCC = re.compile(r"\d{1,4}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}")


class RawTransaction(NamedTuple):
    """A transaction as given; every field may be missing.

    Money out is negative, money in positive. `dow` counts from Monday = 0.
    """

    merchant: str | None = None
    description: str | None = None
    norm_desc: str | None = None
    amount: float | None = None
    abs_amount: float | None = None
    currency: str | None = None
    date: dt.date | None = None
    dow: int | None = None
    is_weekend: bool | None = None
    hour_of_day: int | None = None
    channel: str | None = None
    is_subscription: bool | None = None
    mcc: str | None = None
    account: str | None = None
    user_id: str | None = None


class FeatureRow(NamedTuple):
    """The features of one transaction; every field has a defined value.

    A new field is also a column of `ml_features` (shared/db/tables.py, with a migration) and enters
    the model by shared/features/encoder.py or shared/model/candidates.py; raise FEATURE_VERSION.
    """

    date: dt.date | None
    ts_month: dt.date | None  # first day of the month
    amount: float | None  # signed, 4 decimals
    abs_amount: float | None
    currency: str  # ISO code or ''
    line: str  # the merchant as printed, folded: store numbers and codes are still there
    merchant: str  # cleaned; '' when unknown
    norm_desc: str  # cleaned description; '' when there is none
    channel: str  # one of CHANNELS
    dow: int  # 0 = Monday, -1 unknown
    is_weekend: bool
    hour_of_day: int  # -1 unknown
    is_subscription: bool
    is_p2p: bool
    mcc: str  # four digits or ''
    account: str
    user_id: str


def features_of(txn: RawTransaction) -> FeatureRow:
    """The features of *txn*; a given value wins over a derived one.

    Pure, and raises nothing: an impossible value (an amount that is not a number, an hour of 25)
    counts as missing.
    """
    bank_text = txn.description or txn.norm_desc or ""
    line, merchant, shop = _line_and_merchant(txn.merchant, bank_text)
    norm_desc, memo = _read_description(bank_text) if bank_text else _NO_DESCRIPTION
    if txn.norm_desc and txn.description:
        norm_desc = clean_description(txn.norm_desc) or norm_desc
    amount, abs_amount = _amounts(txn.amount, txn.abs_amount)
    month, dow, is_weekend, hour_of_day = _time(txn)
    is_subscription = txn.is_subscription
    if is_subscription is None:
        is_subscription = shop.is_subscription or memo.is_subscription
    return FeatureRow(
        txn.date,
        month,
        amount,
        abs_amount,
        _currency(txn.currency) if txn.currency else "",
        line,
        merchant,
        norm_desc,
        (find_channel(txn.channel) if txn.channel else "")
        or _channel(shop.channel or memo.channel, merchant, amount),
        dow,
        is_weekend,
        hour_of_day,
        is_subscription,
        shop.is_p2p or memo.is_p2p,
        _mcc(txn.mcc) if txn.mcc else "",
        _identity(txn.account) if txn.account else "",
        _identity(txn.user_id) if txn.user_id else "",
    )


def _line_and_merchant(merchant: str | None, bank_text: str) -> tuple[str, str, Hints]:
    """The line as printed, the cleaned merchant, and the hints in the line.

    They come from the merchant's text, or from the bank's text where that names no merchant.
    """
    result = _read_merchant(merchant or bank_text)
    return result if result[1] or not bank_text else _read_merchant(bank_text)


def _channel(hinted: str, merchant: str, amount: float | None) -> str:
    """The channel where none is given: that of the hints, or else point of sale."""
    if hinted == "deposit" and amount is not None and amount < 0:
        hinted = ""  # a deposit on a hall is money out
    if hinted:
        return hinted
    return "unknown" if not merchant or (amount is not None and amount > 0) else "pos"


def _time(txn: RawTransaction) -> tuple[dt.date | None, int, bool, int]:
    """The first day of the month, the day of the week, whether it is a weekend, and the hour."""
    date, dow, hour = txn.date, txn.dow, txn.hour_of_day
    if dow is None or not 0 <= dow <= 6:
        dow = -1 if date is None else date.weekday()
    return (
        None if date is None else date.replace(day=1),
        dow,
        dow >= _SATURDAY if txn.is_weekend is None else txn.is_weekend,
        hour if hour is not None and 0 <= hour <= 23 else -1,
    )


def _amounts(amount: float | None, abs_amount: float | None) -> tuple[float | None, float | None]:
    """The signed and the absolute amount; a size without a sign is a purchase, money out."""
    signed, size = _number(amount), _number(abs_amount)
    if size is not None:
        size = abs(size)
        return (0.0 - size if signed is None else signed), size
    return signed, None if signed is None else abs(signed)


def _number(value: float | None) -> float | None:
    """*value* as the database stores it; None when it is no finite number."""
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:  # an int beyond any double
        return None
    return round(number, 4) + 0.0 if math.isfinite(number) else None  # + 0.0: no minus zero


@cached(8_192)
def _read_merchant(text: str) -> tuple[str, str, Hints]:
    line = " ".join(spaced(text).split())[:LINE_MAX]
    return line, clean_merchant(text), detect_hints(clean_description(text))


@cached(4_096)
def _read_description(text: str) -> tuple[str, Hints]:
    cleaned = clean_description(text)
    return cleaned, detect_hints(cleaned)


@cached(256)
def _currency(text: str) -> str:
    code = text.strip().upper()
    return code if _CURRENCY.fullmatch(code) else ""


@cached(1_024)
def _mcc(text: str) -> str:
    code = text.strip()
    return code.zfill(4) if _MCC.fullmatch(code) else ""


def _identity(text: str) -> str:
    """An account or user as given, but for characters that the database cannot hold."""
    return text if text.isprintable() else printable(text)
