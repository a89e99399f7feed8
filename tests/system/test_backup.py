"""The commands of docs/deploy.md for backup and restore, as they stand there, on real servers."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from local.servers import binaries
from shared.registry.store import Registry
from shared.settings import Settings
from tests.support.compose_file import ROOT
from tests.support.factories import add_transactions

pytestmark = pytest.mark.system


def command(service: str, beginning: str) -> str:
    """What the page has a service's container do, with its redirection."""
    page = (ROOT / "docs/deploy.md").read_text()
    return re.findall(rf"docker compose .* -T {service} ({beginning} .*)", page)[0]


def test_a_backup_restores_rows_models_and_the_live_version(stack, database, tmp_path):
    """By the commands of the documentation."""
    add_transactions(database, 30, labelled=20)
    before, after = tmp_path / "before", tmp_path / "after"
    after.mkdir()
    registry = Registry(before)
    for content in (b"one", b"two"):
        run_id = registry.save({"model.txt": content}, {}).run_id
        registry.deploy(run_id, by="a test", why="to back it up")
    source = make_url(Settings.from_env(stack.env).database_url)
    env = {
        **os.environ,
        "PATH": f"{binaries.postgres_programs()}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(source.port),
        "PGPASSWORD": str(source.password),
    }
    target = f"{source.database}_restored"

    def run(line: str, database: str, registry: Path) -> None:
        line = line.replace("-d ledger", f"-d {database}")
        line = line.replace("/app/models/ledger_suggestions", str(registry))
        subprocess.run(["bash", "-ec", line], cwd=tmp_path, env=env, check=True)

    run(command("postgres", "pg_dump"), str(source.database), before)
    run(command("worker", "tar"), str(source.database), before)
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {target}"))
    try:
        run(command("postgres", "pg_restore"), target, after)
        run(command("worker", r"tar -C \S+ -x"), target, after)
        restored = create_engine(source.set(database=target))
        with restored.connect() as connection:
            counts = "SELECT (SELECT count(*) FROM transactions), count(*) FROM transaction_labels"
            assert tuple(connection.execute(text(counts)).one()) == (30, 20)
        restored.dispose()
    finally:
        with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)"))
    live = Registry(after).current()
    assert live is not None
    assert live.run_id == run_id
    assert Registry(after).load(run_id).files["model.txt"] == b"two"
    assert Registry(after).rollback(by="a test", why="the older one is there too")
