"""The training set: labelled feature rows, the oldest first, and its split by time.

A DataFrame with a row for each labelled transaction. Columns: `row`, its FeatureRow; `label`;
`source`, who gave the label; `labelled_at`, when it was last changed.
"""

from __future__ import annotations

import pandas as pd
from sqlalchemy import Engine, text

from shared.db.tables import LabelSource
from shared.features.extract import FEATURE_VERSION, FeatureRow

EVALUATION_SHARE = 0.2  # of the rows, the latest ones

_LABELLED = """
    FROM transaction_labels AS l
    JOIN transactions AS t ON t.id = l.txn_id AND t.deleted_at IS NULL
"""
_FINGERPRINT = text(
    "SELECT count(*), coalesce(sum(hashtextextended("
    f"l.label || E'\\x1f' || l.source, t.content_hash)::numeric), 0) {_LABELLED}"
)
_LOAD = text(
    f"""
    SELECT {", ".join(f"f.{name}" for name in FeatureRow._fields)}, l.label, l.source, l.updated_at
    {_LABELLED} JOIN ml_features AS f
      ON f.txn_id = t.id AND f.content_hash = t.content_hash AND f.feature_version = :version
    ORDER BY t.date DESC, t.id DESC LIMIT :limit
    """
)


def fingerprint(engine: Engine, *, limit: int | None) -> str:
    """A short text that changes whenever the training set changes."""
    with engine.connect() as connection:
        count, mixed = connection.execute(_FINGERPRINT).one()
    return f"{FEATURE_VERSION}:{limit or 'all'}:{count}:{mixed}"


def load(engine: Engine, *, limit: int | None) -> pd.DataFrame:
    """Read the labelled transactions whose features are up to date; with a limit the newest ones.

    One statement reads all of it, so it is one state of the database.
    """
    width = len(FeatureRow._fields)
    query = {"version": FEATURE_VERSION, "limit": limit}
    with engine.connect().execution_options(stream_results=True, max_row_buffer=5000) as connection:
        records = [
            (FeatureRow(*values[:width]), *values[width:])
            for values in connection.execute(_LOAD, query)
        ]
    columns = zip(*reversed(records), strict=True) if records else [()] * 4
    # One Series a column: pandas would take a list of feature rows, which are tuples, apart.
    series = (pd.Series(list(values), dtype=object) for values in columns)
    return pd.DataFrame(dict(zip(("row", "label", "source", "labelled_at"), series, strict=True)))


def split_by_time(data: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split into the rows for training and the later ones for evaluation.

    The cut falls between two days, so that no day is on both sides; only where nearly all rows are
    of one day does it fall within that day. Labels by a rule are left out of the evaluation: they
    would measure agreement with the rule.
    """
    cut = max(1, round(len(data) * (1 - EVALUATION_SHARE)))
    days = [row.date for row in data["row"]]
    start_of_day = days.index(days[min(cut, len(days) - 1)])
    if start_of_day >= len(data) // 2:
        cut = start_of_day
    later = data[cut:]
    return data[:cut], later[later["source"] != LabelSource.RULE.value]
