"""The reference profile, which a version stores."""

from __future__ import annotations

from shared.services import Services
from worker.drift.profile import FILE, WEEKS, ReferenceProfile


def test_version_stores_its_reference_profile(services: Services, trained: str) -> None:
    files = services.registry.load(trained).files

    profile = ReferenceProfile.from_file(files[FILE])

    assert len(profile.inputs) == WEEKS
    assert sum(sum(week["channel"].values()) for week in profile.inputs) > 1_000
    assert sum(sum(week["category"].values()) for week in profile.answers if week) > 300
    assert 0.5 < profile.accuracy <= 1
    assert len(files[FILE]) < 50_000
    assert b"ROADSIDE" not in files[FILE].upper()
