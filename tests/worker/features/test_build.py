"""The build writes what is pending, all of it, and nothing else."""

from __future__ import annotations

import datetime as dt
import itertools
import subprocess
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, text

from shared.db.tables import Transaction
from shared.features.extract import FEATURE_VERSION, FeatureRow, RawTransaction, features_of
from tests import ROOT
from tests.support.factories import add_transactions
from worker.features import build as feature_build
from worker.features import pending
from worker.features.pending import IdRange, Scope

pytestmark = pytest.mark.usefixtures("clean")
ALL = Scope()


def stored(engine: Engine) -> dict[int, FeatureRow]:
    """The features in the database, by transaction."""
    columns = ", ".join(FeatureRow._fields)
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT txn_id, {columns} FROM ml_features"))
        return {row[0]: FeatureRow(*row[1:]) for row in rows}


def places(engine: Engine) -> dict[int, str]:
    """Where each row of features lies on disk: it moves when the row is written again."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT txn_id, ctid::text FROM ml_features"))
        return {row[0]: row[1] for row in rows}


def change(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def test_a_second_build_changes_nothing_and_says_so(engine):
    """Unchanged rows are not even written."""
    add_transactions(engine, 50)
    first = feature_build.build_pending(engine, ALL)
    before = places(engine)

    second = feature_build.build_pending(engine, ALL)

    assert (first.built, first.unchanged) == (50, 0)
    assert (second.built, second.unchanged, second.removed) == (0, 50, 0)
    assert places(engine) == before


def test_only_the_row_that_changed_is_built_again(engine):
    """Whoever changed it, this service or somebody in psql."""
    ids = add_transactions(engine, 50)
    feature_build.build_pending(engine, ALL)
    before = places(engine)
    change(engine, "UPDATE transactions SET merchant = 'CITY PETROL' WHERE id = :id", id=ids[7])

    report = feature_build.build_pending(engine, ALL)

    after = places(engine)
    assert (report.built, report.unchanged) == (1, 49)
    assert {txn_id for txn_id in ids if after[txn_id] != before[txn_id]} == {ids[7]}
    assert stored(engine)[ids[7]].merchant == "city petrol"


def test_features_of_an_older_code_are_built_again(engine):
    """The code's own version is part of what is compared."""
    ids = add_transactions(engine, 5)
    feature_build.build_pending(engine, ALL)
    change(engine, "UPDATE ml_features SET feature_version = -1 WHERE txn_id = :id", id=ids[0])

    assert feature_build.build_pending(engine, ALL).built == 1
    with engine.connect() as connection:
        versions = set(connection.scalars(text("SELECT feature_version FROM ml_features")))
    assert versions == {FEATURE_VERSION}


def test_features_of_deleted_transactions_are_removed(engine):
    """A soft delete ends them with the next build, and they do not come back."""
    ids = add_transactions(engine, 5)
    feature_build.build_pending(engine, ALL)
    change(engine, "UPDATE transactions SET deleted_at = now() WHERE id = :id", id=ids[0])

    report = feature_build.build_pending(engine, ALL)

    assert (report.built, report.removed) == (0, 1)
    assert set(stored(engine)) == set(ids[1:])


def test_a_window_of_days_leaves_older_transactions_alone(engine):
    """`days` counts back from today."""
    today = dt.datetime.now(dt.UTC).date()
    with engine.begin() as connection:
        connection.execute(
            insert(Transaction),
            [{"date": today - dt.timedelta(days=age), "amount": -1} for age in (0, 30, 31)],
        )

    report = feature_build.build_pending(engine, pending.last_days(30))

    assert (report.built, report.unchanged) == (2, 0)


def test_training_can_ask_for_the_labelled_ones_alone(engine):
    """So that a label on any row, however old, can be learned from."""
    ids = add_transactions(engine, 20, labelled=6)

    feature_build.build_pending(engine, Scope(labelled=True))

    assert set(stored(engine)) == set(ids[:6])


def test_a_build_that_is_broken_off_goes_on_where_it_stopped(engine, monkeypatch):
    """What a chunk has committed stays."""
    add_transactions(engine, 50)
    monkeypatch.setattr(feature_build, "CHUNK_ROWS", 10)

    class BrokenOff(Exception):
        pass

    def break_off(done: int) -> None:
        if done >= 20:
            raise BrokenOff

    with pytest.raises(BrokenOff):
        feature_build.build_pending(engine, ALL, progress=break_off)
    kept = len(stored(engine))
    report = feature_build.build_pending(engine, ALL)

    assert 20 <= kept < 50
    assert report.built == 50 - kept


def test_ranges_cover_what_is_pending_once(engine):
    """Each has about so many rows, and none overlaps another."""
    ids = add_transactions(engine, 95)
    change(engine, "DELETE FROM transactions WHERE id % 3 = 0")
    left = [txn_id for txn_id in ids if txn_id % 3]

    ranges = pending.pending_ranges(engine, ALL, size=10)

    covered = [txn_id for part in ranges for txn_id in left if part.low <= txn_id < part.high]
    assert covered == left
    assert [part.rows for part in ranges[:-1]] == [10] * (len(ranges) - 1)
    assert all(a.high <= b.low for a, b in itertools.pairwise(ranges))


def test_two_builders_of_the_same_range_do_no_harm(engine):
    """A job that was taken over while its first worker still writes."""
    ids = add_transactions(engine, 2000)
    part = IdRange(ids[0], ids[-1] + 1, len(ids))
    threads = [
        threading.Thread(target=feature_build.build_range, args=(engine, part, ALL))
        for _ in range(3)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(stored(engine)) == set(ids)


def test_what_changes_or_goes_while_it_is_built_is_not_written_as_it_was(engine, monkeypatch):
    """A deleted row is left out; a changed one is pending again, since its hash differs."""
    ids = add_transactions(engine, 3)
    read = feature_build._read

    def read_then_others_write(*args: object) -> list[str]:
        lines = read(*args)  # type: ignore[arg-type]
        change(engine, "DELETE FROM transactions WHERE id = :id", id=ids[0])
        change(engine, "UPDATE transactions SET deleted_at = now() WHERE id = :id", id=ids[1])
        change(engine, "UPDATE transactions SET amount = -77 WHERE id = :id", id=ids[2])
        return lines

    monkeypatch.setattr(feature_build, "_read", read_then_others_write)
    feature_build.build_pending(engine, ALL)
    monkeypatch.undo()

    assert set(stored(engine)) == {ids[2]}
    assert feature_build.build_pending(engine, ALL).built == 1
    assert stored(engine)[ids[2]].amount == -77


TEXTS = st.text(
    st.characters(blacklist_characters="\x00", blacklist_categories=("Cs",)), max_size=40
)
RAW = st.builds(
    RawTransaction,
    merchant=st.none() | TEXTS,
    description=st.none() | TEXTS,
    amount=st.decimals(-(10**9), 10**9, places=4).map(float),
    currency=st.sampled_from(["", "EUR", "CAD"]),
    date=st.dates(),
    hour_of_day=st.none() | st.integers(0, 23),
    channel=st.none() | TEXTS,
    mcc=st.none() | st.from_regex(r"[0-9]{4}", fullmatch=True),
    account=st.none() | TEXTS,
    user_id=st.none() | TEXTS,
    **dict.fromkeys(("norm_desc", "abs_amount", "dow", "is_weekend", "is_subscription"), st.none()),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(raws=st.lists(RAW, min_size=1, max_size=20))
def test_build_batch_and_single_prediction_see_the_same_to_the_last_bit(engine, raws):
    """One function, whatever way a transaction takes: through the database, a list, or alone."""
    change(engine, "TRUNCATE transactions CASCADE")
    with engine.begin() as connection:
        columns = set(RawTransaction._fields) & {c.name for c in Transaction.__table__.columns}
        rows = [{name: getattr(raw, name) for name in columns} for raw in raws]
        ids = list(
            connection.scalars(
                insert(Transaction).returning(Transaction.id, sort_by_parameter_order=True), rows
            )
        )

    feature_build.build_pending(engine, ALL)

    built = stored(engine)
    batch = list(map(features_of, raws))
    for txn_id, raw, one in zip(ids, raws, batch, strict=True):
        assert repr(built[txn_id]) == repr(features_of(raw)) == repr(one), (raw, built[txn_id])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--all"], "50 rows built"), (["--days", "0"], "Nothing to do: 0 rows are up to date")],
)
def test_the_command_says_what_it_did(engine, environment, arguments, said):
    """`python -m worker.feature_build`, the same code as the job."""
    add_transactions(engine, 50)

    done = subprocess.run(
        [sys.executable, "-m", "worker.feature_build", *arguments],
        env={**environment, "PATH": "/usr/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_the_command_names_a_database_that_is_not_there(environment):
    """One clear line, and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.feature_build", "--all"],
        env={**environment, "DATABASE_URL": "postgresql://x:y@127.0.0.1:1/z", "PATH": "/usr/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("feature_build: PostgreSQL does not answer")
    assert "Traceback" not in done.stderr
