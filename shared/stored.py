"""Stored transactions: as `features_of` reads them, and their features."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, RowMapping, Text, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from shared.features import FEATURE_VERSION, FeatureRow, RawTransaction, features_of
from shared.tables import MlFeatures, Transaction

_NAMES = [name for name in RawTransaction._fields if name in Transaction.__table__.columns]
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


def raw_of(row: RowMapping) -> RawTransaction:
    """What is known of a transaction, from a row with RAW_COLUMNS and maybe others."""
    told = {name: row[name] for name in _NAMES}
    return RawTransaction(**{**told, "amount": float(told["amount"])})


def raws(
    session: Session, txn_ids: Sequence[int], user_id: str | None = None
) -> dict[int, RawTransaction]:
    """Those of these ids, and of this user, if one is named, that were not deleted; one query."""
    found = session.execute(_RAW, {"txn_ids": list(txn_ids), "user_id": user_id})
    return {row["id"]: raw_of(row) for row in found.mappings()}


def rows(
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
        made = raws(session, rest, user_id)
        found.update((txn_id, features_of(raw)) for txn_id, raw in made.items())
    return found
