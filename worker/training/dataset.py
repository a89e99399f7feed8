"""The labelled transactions, in the order of time, and the cut between learning and judging."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Engine, text

from shared.db.tables import LabelSource
from shared.features.extract import FEATURE_VERSION, FeatureRow

GATE_SHARE = 0.2  # of the rows, the latest ones

_LABELLED = """
    FROM transaction_labels AS l
    JOIN transactions AS t ON t.id = l.txn_id AND t.deleted_at IS NULL
"""
_WITH_FEATURES = f"""{_LABELLED}
    JOIN ml_features AS f
      ON f.txn_id = t.id AND f.content_hash = t.content_hash AND f.feature_version = :version
"""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Parallel tuples, one entry a labelled transaction, earliest first.

    Attributes:
        rows: the features, each as of its own transaction.
        labels: the category of each.
        sources: who gave it.
        labelled_at: when that label was last changed.
    """

    rows: tuple[FeatureRow, ...]
    labels: tuple[str, ...]
    sources: tuple[str, ...]
    labelled_at: tuple[dt.datetime, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, keep: slice) -> Self:
        """Some consecutive rows of it."""
        return type(self)(
            self.rows[keep], self.labels[keep], self.sources[keep], self.labelled_at[keep]
        )

    def only(self, keep: list[bool]) -> Self:
        """The rows for which *keep* says so."""
        chosen = [index for index, kept in enumerate(keep) if kept]
        return type(self)(
            tuple(self.rows[i] for i in chosen),
            tuple(self.labels[i] for i in chosen),
            tuple(self.sources[i] for i in chosen),
            tuple(self.labelled_at[i] for i in chosen),
        )


def fingerprint(engine: Engine, *, limit: int | None) -> str:
    """A short text that changes whenever what there is to learn from changes."""
    with engine.connect() as connection:
        count, mixed = connection.execute(
            text(
                "SELECT count(*), coalesce(sum(hashtextextended("
                f"l.label || E'\\x1f' || l.source, t.content_hash)::numeric), 0) {_LABELLED}"
            )
        ).one()
    return f"{FEATURE_VERSION}:{limit or 'all'}:{count}:{mixed}"


def load(engine: Engine, *, limit: int | None) -> Dataset:
    """The labelled transactions whose features are up to date; with a limit the newest ones.

    One statement reads all of it, so it is one state of the database, whoever writes meanwhile.
    """
    columns = ", ".join(f"f.{name}" for name in FeatureRow._fields)
    statement = text(
        f"SELECT {columns}, l.label, l.source, l.updated_at {_WITH_FEATURES} "
        "ORDER BY t.date DESC, t.id DESC LIMIT :limit"
    )
    width = len(FeatureRow._fields)
    with engine.connect().execution_options(stream_results=True, max_row_buffer=5000) as connection:
        found = [
            (FeatureRow(*row[:width]), *row[width:])
            for row in connection.execute(statement, {"version": FEATURE_VERSION, "limit": limit})
        ]
    found.reverse()
    rows, labels, sources, times = zip(*found, strict=True) if found else ((), (), (), ())
    return Dataset(rows, labels, sources, times)


def split_by_time(data: Dataset) -> tuple[Dataset, Dataset]:
    """Cut into what is learned from and the later rows that judge it.

    The cut falls between two days, so that nothing of a judged day is learned; only where nearly
    all rows are of one day does it fall within that day. Labels that a rule gave judge nobody:
    they would measure agreement with the rule.
    """
    at = max(1, round(len(data) * (1 - GATE_SHARE)))
    day = data.rows[min(at, len(data) - 1)].date
    start_of_day = next(i for i, row in enumerate(data.rows) if row.date == day)
    cut = start_of_day if start_of_day >= len(data) // 2 else at
    later = data.part(slice(cut, None))
    judged = later.only([source != LabelSource.RULE.value for source in later.sources])
    return data.part(slice(None, cut)), judged
