"""What the database holds about the users and merchants of a suggestion."""

from __future__ import annotations

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from shared.suggestions import context
from tests.support.factories import add_transactions
from worker.features import build as feature_build


def test_label_profile_uses_the_newest_labels_for_single_and_batch(
    engine: Engine, clean: None
) -> None:
    """Which hundred of many came first was up to the planner, and with hash joins it was any."""
    ids = add_transactions(engine, 600, labelled=600)
    with engine.begin() as connection:
        connection.execute(text("UPDATE transactions SET user_id = 'ada'"))
        connection.execute(
            text("UPDATE transaction_labels SET label = 'Newest' WHERE txn_id > :older"),
            {"older": ids[-context.PROFILE_ROWS - 1]},
        )
    feature_build.build_pending(engine, feature_build.Scope())

    for way in ("on", "off"):
        with Session(engine) as session:
            session.execute(text(f"SET LOCAL enable_nestloop = {way}"))
            found = context.add_label_profiles(session, context.EMPTY_CONTEXT, {"ada"})
        profile = found.profiles["ada"]
        assert [label for _, label in profile.pending] == ["Newest"] * context.PROFILE_ROWS
