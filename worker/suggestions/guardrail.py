"""The guardrail: ends a canary or a trial once feedback shows that it is worse."""

from __future__ import annotations

from sqlalchemy import Engine

from shared.db.engine import transaction
from shared.db.tables import Arm
from shared.errors import Conflict
from shared.experiments import arm_statistics, traffic_split, verdicts
from shared.experiments.verdicts import Verdict
from shared.log import get_logger
from shared.settings import Settings

log = get_logger()


def check_guardrail(engine: Engine, settings: Settings) -> list[Verdict]:
    """Compare the arms, end those that are worse, and give the verdicts on those that ended.

    Several workers may check at once: each arm ends once. The verdicts allow for a check a minute.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(engine) as session:
        split = traffic_split.current(session, settings)
        if split.canary == 0 and split.challenger is None:
            return []
        compared = verdicts.compare_with_control(
            split, arm_statistics.load_statistics(session, arm_statistics.evidence_start(split))
        )
    ended = []
    # The trial first: to end it does not reset the statistics of the canary.
    for verdict in sorted(compared, key=lambda item: item.arm is not Arm.CHALLENGER):
        if verdict.outcome != "worse":
            continue
        try:
            with transaction(engine) as session:
                split = traffic_split.stop_by_guardrail(
                    session, settings, split, verdict.arm, why=verdict.why
                )
        except Conflict as conflict:  # another worker, or an admin, was first
            log.info("guard.not_needed", reason=str(conflict))
            break
        log.warning("guard.tripped", arm=verdict.arm.value, why=verdict.why)
        ended.append(verdict)
    return ended
