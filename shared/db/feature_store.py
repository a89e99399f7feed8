"""The feature store: reads stored transactions and `ml_features`, and writes `ml_features`."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from typing import Any

from sqlalchemy import BigInteger, Connection, RowMapping, Text, bindparam, func, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session

from shared.db import copy_text
from shared.db.tables import TRANSACTION_CONTENT, MlFeatures, Transaction
from shared.features.extract import FEATURE_VERSION, FeatureRow, RawTransaction, features_of

_NAMES = tuple(TRANSACTION_CONTENT)
RAW_COLUMNS = [getattr(Transaction, name) for name in _NAMES]  # for `raw_transaction`

# Built once: building a statement takes as long as running it. Of tables, not of mapped classes:
# the ORM takes twice as long for a row of many columns.
_transactions, _features = Transaction.__table__.c, MlFeatures.__table__.c
_CONDITIONS = (
    _transactions.id == func.any(bindparam("txn_ids", type_=ARRAY(BigInteger))),
    _transactions.deleted_at.is_(None),
    or_(bindparam("user_id", type_=Text).is_(None), _transactions.user_id == bindparam("user_id")),
)
_SELECT_RAW = select(_transactions.id, *[_transactions[name] for name in _NAMES]).where(
    *_CONDITIONS
)
_SELECT_FEATURES = select(
    _transactions.id, *[_features[name] for name in FeatureRow._fields]
).where(
    *_CONDITIONS,
    _features.txn_id == _transactions.id,
    _features.content_hash == _transactions.content_hash,
    _features.feature_version == FEATURE_VERSION,
)


def raw_transaction(row: RowMapping) -> RawTransaction:
    """Convert a database row that has RAW_COLUMNS, and maybe others."""
    return RawTransaction(**{name: row[name] for name in _NAMES} | {"amount": float(row["amount"])})


def load_raw(
    session: Session, txn_ids: Sequence[int], user_id: str | None = None
) -> dict[int, RawTransaction]:
    """Load the transactions with these ids that are not deleted, by id; with *user_id*, theirs."""
    rows = session.execute(_SELECT_RAW, {"txn_ids": list(txn_ids), "user_id": user_id})
    return {row["id"]: raw_transaction(row) for row in rows.mappings()}


def load_rows(
    session: Session, txn_ids: Sequence[int], user_id: str | None = None
) -> dict[int, FeatureRow]:
    """Load their features by id; where none are stored for the present content, compute them.

    One query, and a second one if some must be computed. *user_id* is compared with the
    transaction's: the one among the features is normalised.
    """
    stored = session.execute(_SELECT_FEATURES, {"txn_ids": list(txn_ids), "user_id": user_id})
    rows = {txn_id: FeatureRow._make(values) for txn_id, *values in stored}
    missing = [txn_id for txn_id in txn_ids if txn_id not in rows]
    if missing:
        raw = load_raw(session, missing, user_id)
        rows.update((txn_id, features_of(txn)) for txn_id, txn in raw.items())
    return rows


_STORED = ("txn_id", *FeatureRow._fields, "content_hash", "feature_version")
# The join leaves out transactions that were deleted since their features were computed.
_MERGE = f"""
    INSERT INTO ml_features ({", ".join(_STORED)}, built_at)
    SELECT {", ".join(f"new.{name}" for name in _STORED)}, now()
    FROM {{new}} AS new JOIN transactions AS t ON t.id = new.txn_id
    WHERE t.deleted_at IS NULL AND t.id BETWEEN :low AND :high
    ON CONFLICT (txn_id) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in (*_STORED[1:], "built_at"))}
"""  # noqa: S608  names of our own
_MERGE_ONE = text(_MERGE.format(new="jsonb_populate_record(NULL::ml_features, :new)")).bindparams(
    bindparam("new", type_=JSONB)
)
_MERGE_COPIED = text(_MERGE.format(new="built_features"))
_COPY = f"COPY built_features ({', '.join(_STORED)}) FROM STDIN"
_CREATE_COPIED = text(
    f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS built_features ON COMMIT DELETE ROWS AS
    SELECT {", ".join(_STORED)} FROM ml_features WITH NO DATA
    """  # noqa: S608
)


def build_one(session: Session, txn_id: int) -> None:
    """Write the features of one existing transaction."""
    query = select(Transaction.content_hash, *RAW_COLUMNS).where(Transaction.id == txn_id)
    txn = session.execute(query).mappings().one()
    new = {
        name: value.isoformat() if isinstance(value, dt.date) else value
        for name, value in features_of(raw_transaction(txn))._asdict().items()
    }
    stored = (txn_id, *new.values(), txn["content_hash"], FEATURE_VERSION)
    new = dict(zip(_STORED, stored, strict=True))
    session.execute(_MERGE_ONE, {"new": new, "low": txn_id, "high": txn_id})


# For many rows: lines of COPY's text format, in and out.
_VERSION = str(FEATURE_VERSION)
COPIED_COLUMNS = ("id", "content_hash", *_NAMES)  # of a transaction, for `features_lines`


def features_lines(lines: Sequence[str]) -> list[str]:
    """Compute features: from lines with COPIED_COLUMNS of transactions to lines for `write_lines`.

    No line has its line feed.
    """
    batches = (lines[start : start + _BATCH] for start in range(0, len(lines), _BATCH))
    return [line for batch in batches for line in _convert(batch)]


_BATCH = 128  # lines converted at once, column by column; more leave the processor's cache


def _convert(lines: Sequence[str]) -> Iterator[str]:
    txn_ids, hashes, *texts = zip(*(line.split("\t") for line in lines), strict=True)
    given = dict(zip(_NAMES, map(map, _COLUMN_READERS, texts), strict=True))
    raw = map(RawTransaction, *(given.get(name, repeat(None)) for name in RawTransaction._fields))
    features = map(map, _COLUMN_WRITERS, zip(*map(features_of, raw), strict=True))
    return map("\t".join, zip(txn_ids, *features, hashes, repeat(_VERSION), strict=False))


def write_lines(connection: Connection, lines: Sequence[str]) -> int:
    """Write features from `features_lines`, ordered by id; return the number of rows written.

    The bounds on the ids keep the join from reading all transactions for each call: the planner
    has no statistics of a temporary table.

    Raises:
        IntegrityError: a transaction was deleted between the join and the check of the foreign key.
    """
    low, high = (int(line.partition("\t")[0]) for line in (lines[0], lines[-1]))
    connection.execute(_CREATE_COPIED)
    rows = "\n".join(lines) + "\n"
    connection.connection.cursor().copy_expert(_COPY, io.StringIO(rows))
    return connection.execute(_MERGE_COPIED, {"low": low, "high": high}).rowcount


def _optional_int(value: str) -> int | None:
    return None if value == copy_text.NULL else int(value)


_READERS: dict[type, Callable[[str], Any]] = {
    str: copy_text.decode,
    int: _optional_int,
    Decimal: float,
    dt.date: lru_cache(maxsize=8192)(dt.date.fromisoformat),
}
_WRITERS: dict[type, Callable[[Any], str]] = {
    str: copy_text.encode,
    int: repr,
    bool: repr,
    float: repr,
    dt.date: lru_cache(maxsize=8192)(dt.date.isoformat),
}
_COLUMN_READERS = [_READERS[_transactions[name].type.python_type] for name in _NAMES]
_COLUMN_WRITERS = [_WRITERS[_features[name].type.python_type] for name in FeatureRow._fields]
