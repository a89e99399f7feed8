"""Stored transactions as `features_of` reads them, and their features: read here, written here."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from operator import call
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    RowMapping,
    Text,
    bindparam,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session

from shared.db import copy_text
from shared.db.tables import TRANSACTION_CONTENT, MlFeatures, Transaction
from shared.features.extract import FEATURE_VERSION, FeatureRow, RawTransaction, features_of

_NAMES = tuple(TRANSACTION_CONTENT)
RAW_COLUMNS = [getattr(Transaction, name) for name in _NAMES]  # to be selected for `raw_of`

# Made once: to put them together takes as long as to ask them. Of tables, not of classes: for the
# ORM's own way a row of many columns takes twice as long.
_txns, _built = Transaction.__table__.c, MlFeatures.__table__.c
_WANTED = (
    _txns.id == func.any(bindparam("txn_ids", type_=ARRAY(BigInteger))),
    _txns.deleted_at.is_(None),
    or_(bindparam("user_id", type_=Text).is_(None), _txns.user_id == bindparam("user_id")),
)
_RAW = select(_txns.id, *[_txns[name] for name in _NAMES]).where(*_WANTED)
_BUILT = select(_txns.id, *[_built[name] for name in FeatureRow._fields]).where(
    *_WANTED,
    _built.txn_id == _txns.id,
    _built.content_hash == _txns.content_hash,
    _built.feature_version == FEATURE_VERSION,
)


def raw_transaction(row: RowMapping) -> RawTransaction:
    """What is known of a transaction, from a row with RAW_COLUMNS and maybe others."""
    told = {name: row[name] for name in _NAMES}
    return RawTransaction(**{**told, "amount": float(told["amount"])})


def load_raw(
    session: Session, txn_ids: Sequence[int], user_id: str | None = None
) -> dict[int, RawTransaction]:
    """Those of these ids, and of this user, if one is named, that were not deleted; one query."""
    found = session.execute(_RAW, {"txn_ids": list(txn_ids), "user_id": user_id})
    return {row["id"]: raw_transaction(row) for row in found.mappings()}


def load_rows(
    session: Session, txn_ids: Sequence[int], user_id: str | None = None
) -> dict[int, FeatureRow]:
    """Their features: as they were built, and made now where they were not built of what is there.

    One query, and a second one where some were not built. A user is compared as he is stored; in
    features, characters of his name are folded.
    """
    built = session.execute(_BUILT, {"txn_ids": list(txn_ids), "user_id": user_id})
    found = {txn_id: FeatureRow._make(told) for txn_id, *told in built}
    rest = [it for it in txn_ids if it not in found]
    if rest:
        made = load_raw(session, rest, user_id)
        found.update((txn_id, features_of(raw)) for txn_id, raw in made.items())
    return found


_WRITTEN = ("txn_id", *FeatureRow._fields, "content_hash", "feature_version")
# The join leaves out what was deleted since its features were made.
_MERGE = f"""
    INSERT INTO ml_features ({", ".join(_WRITTEN)}, built_at)
    SELECT {", ".join(f"made.{name}" for name in _WRITTEN)}, now()
    FROM {{made}} AS made JOIN transactions AS t ON t.id = made.txn_id
    WHERE t.deleted_at IS NULL AND t.id BETWEEN :low AND :high
    ON CONFLICT (txn_id) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in (*_WRITTEN[1:], "built_at"))}
"""  # noqa: S608  names of our own
_MERGE_ONE = text(_MERGE.format(made="jsonb_populate_record(NULL::ml_features, :made)")).bindparams(
    bindparam("made", type_=JSONB)
)
_MERGE_COPIED = text(_MERGE.format(made="built_features"))
_COPY = f"COPY built_features ({', '.join(_WRITTEN)}) FROM STDIN"
_COPIED = text(
    f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS built_features ON COMMIT DELETE ROWS AS
    SELECT {", ".join(_WRITTEN)} FROM ml_features WITH NO DATA
    """  # noqa: S608
)


def build_one(session: Session, txn_id: int) -> None:
    """Write the features of one transaction that is there."""
    wanted = select(Transaction.content_hash, *RAW_COLUMNS).where(Transaction.id == txn_id)
    txn = session.execute(wanted).mappings().one()
    row = {
        name: value.isoformat() if isinstance(value, dt.date) else value
        for name, value in features_of(raw_transaction(txn))._asdict().items()
    }
    made = {
        **row,
        "txn_id": txn_id,
        "content_hash": txn["content_hash"],
        "feature_version": FEATURE_VERSION,
    }
    session.execute(_MERGE_ONE, {"made": made, "low": txn_id, "high": txn_id})


_VERSION = str(FEATURE_VERSION)
# For many: lines of COPY's text format, in and out.
COPIED_COLUMNS = ("id", "content_hash", *_NAMES)  # of a transaction, for `features_line`


def features_line(line: str) -> str:
    """Make the line of its features from a transaction's line with COPIED_COLUMNS.

    Neither has its end; both begin with the transaction's id.
    """
    txn_id, content_hash, *values = line.split("\t")
    raw = RawTransaction(**dict(zip(_NAMES, map(call, _READ, values), strict=True)))
    return "\t".join((txn_id, *map(call, _WRITE, features_of(raw)), content_hash, _VERSION))


def write_lines(connection: Connection, lines: Sequence[str]) -> int:
    """Write features from `features_line`, in the order of their ids; give the rows written.

    The bounds on the ids keep the join from reading all transactions for each call: the planner
    has no statistics of a temporary table.

    Raises:
        IntegrityError: a transaction was deleted between the join and the check of the foreign key.
    """
    low, high = (int(line.partition("\t")[0]) for line in (lines[0], lines[-1]))
    connection.execute(_COPIED)
    rows = "\n".join(lines) + "\n"
    connection.connection.cursor().copy_expert(_COPY, io.StringIO(rows))
    return connection.execute(_MERGE_COPIED, {"low": low, "high": high}).rowcount


def _whole(value: str) -> int | None:
    return None if value == copy_text.NULL else int(value)


_READERS: dict[type, Callable[[str], Any]] = {
    str: copy_text.decode,
    int: _whole,
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
_READ = [_READERS[_txns[name].type.python_type] for name in _NAMES]
_WRITE = [_WRITERS[_built[name].type.python_type] for name in FeatureRow._fields]
