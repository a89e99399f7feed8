"""Stored transactions as `features_of` reads them."""

from __future__ import annotations

from sqlalchemy import RowMapping

from shared.features import RawTransaction
from shared.tables import Transaction

_NAMES = [name for name in RawTransaction._fields if name in Transaction.__table__.columns]
RAW_COLUMNS = [getattr(Transaction, name) for name in _NAMES]  # to be selected for `raw_of`


def raw_of(row: RowMapping) -> RawTransaction:
    """What is known of a transaction, from a row with RAW_COLUMNS and maybe others."""
    told = {name: row[name] for name in _NAMES}
    return RawTransaction(**{**told, "amount": float(told["amount"])})
