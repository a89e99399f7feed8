"""The warehouse's tables say what the service's rows say, counted by hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from shared.db.tables import Action, Arm
from tests import ROOT
from tests.support.factories import add_transactions
from tests.support.suggestions import add
from worker.features import build as feature_build

DBT = ROOT / ".venv-dbt" / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not DBT.exists(), reason="the warehouse is NOT tested: make .venv-dbt/made installs dbt"
)


@pytest.fixture
def warehouse(engine: Engine, clean: None) -> Iterator[Engine]:
    yield engine
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS analytics CASCADE"))


def build(environment: dict[str, str], folder: Path) -> str:
    """What dbt says; every model is built, and every test of it holds."""
    done = subprocess.run(
        [DBT, ROOT / "warehouse" / "build.py", "--log-path", folder],
        env={**os.environ, **environment, "DBT_TARGET_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(engine: Engine, query: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def test_an_empty_database_builds_twice(
    warehouse: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    build(environment, tmp_path)

    assert "Completed successfully" in build(environment, tmp_path)
    assert rows(warehouse, "SELECT * FROM analytics.kpi_suggestions_daily") == []


def test_warehouse_figures_equal_those_of_the_rows(
    warehouse: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    ids = add_transactions(warehouse, 40, labelled=30)
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE transactions SET merchant = 'KRONTAL' WHERE id = ANY(:ids)"),
            {"ids": ids[:4]},
        )
        connection.execute(
            text("UPDATE transaction_labels SET label = 'Fun' WHERE txn_id = ANY(:ids)"),
            {"ids": ids[:4]},
        )
    feature_build.build_pending(warehouse, feature_build.Scope())
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE transactions SET deleted_at = now() WHERE id = :id"), {"id": ids[29]}
        )
    shown = {"arm": Arm.MODEL, "label": "Fuel", "model_version": "v1"}
    accepted = {**shown, "answer": Action.ACCEPT, "answer_label": "Fuel"}
    corrected = {**shown, "answer": Action.CORRECT, "answer_label": "Fun"}
    asked = {**shown, "label": None, "source": "none", "layer": "none"}
    add(warehouse, *[accepted] * 6, *[corrected] * 2, shown, asked, {**accepted, "forced": True})
    add(warehouse, {**shown, "txn_id": ids[29]})

    build(environment, tmp_path)

    (daily,) = rows(
        warehouse,
        "SELECT sum(suggestions) AS suggestions, sum(shown) AS shown, sum(asked) AS asked, "
        "sum(accepted) AS accepted, sum(corrected) AS corrected "
        "FROM analytics.kpi_suggestions_daily",
    )
    assert {name: int(value) for name, value in daily.items()} == {
        "suggestions": 10,
        "shown": 9,
        "asked": 1,
        "accepted": 6,
        "corrected": 2,
    }
    (month,) = rows(warehouse, "SELECT * FROM analytics.kpi_suggestions_30d")
    assert (month["arm"], month["users"], month["acceptance"]) == ("model", 1, 0.75)
    assert rows(warehouse, "SELECT * FROM analytics.kpi_corrections_30d") == [
        {"suggested": "Fuel", "corrected_to": "Fun", "corrections": 2}
    ]
    (shop,) = rows(warehouse, "SELECT * FROM analytics.dim_merchants WHERE merchant = 'krontal'")
    assert (shop["labelled"], shop["usual_label"], shop["certainty"]) == (4, "Fun", "high")
    (training,) = rows(warehouse, "SELECT count(*) AS rows FROM analytics.fct_training_view")
    assert training["rows"] == 29
    right = rows(
        warehouse,
        "SELECT is_right, count(*) AS n FROM analytics.fct_suggestions_eval GROUP BY 1 ORDER BY 1",
    )
    assert right == [
        {"is_right": False, "n": 2},
        {"is_right": True, "n": 6},
        {"is_right": None, "n": 2},
    ]


def test_warehouse_tests_find_an_impossible_row(
    warehouse: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    add(warehouse, {"answer": Action.ACCEPT, "answer_label": "Fun", "label": "Fuel"})

    with pytest.raises(AssertionError, match="an_accepted_label_is_the_suggested_one"):
        build(environment, tmp_path)
