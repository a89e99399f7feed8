"""The guardrail: ends a canary or a trial by itself once the answers say that it harms."""

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
    """Judge the arms, end what is worse, and give the verdicts for which something was ended.

    Any number of guards may look at once: each arm is ended once. The verdicts allow for being
    looked at every minute.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(engine) as session:
        now = traffic_split.current(session, settings)
        if now.canary == 0 and now.challenger is None:
            return []
        found = verdicts.compare_with_control(
            now, arm_statistics.load_statistics(session, arm_statistics.evidence_start(now))
        )
    tripped = []
    # The trial first: where both are worse, its end leaves the evidence on the canary in place.
    for verdict in sorted(found, key=lambda it: it.arm is not Arm.CHALLENGER):
        if verdict.outcome != "worse":
            continue
        try:
            with transaction(engine) as session:
                now = traffic_split.stop_by_guardrail(
                    session, settings, now, verdict.arm, why=verdict.why
                )
        except Conflict as conflict:  # another guard, or an admin, was first
            log.info("guard.not_needed", reason=str(conflict))
            break
        log.warning("guard.tripped", arm=verdict.arm.value, why=verdict.why)
        tripped.append(verdict)
    return tripped
