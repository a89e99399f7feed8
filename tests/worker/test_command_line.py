"""How commands report errors, and with which exit status they end."""

from __future__ import annotations

import pytest

from shared.errors import InvalidInput, SettingsError, Unavailable
from worker import command_line


def test_result_is_printed_with_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.run("ingest", lambda: "3 rows", outcome="nothing is imported") == 0
    assert capsys.readouterr() == ("3 rows\n", "")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InvalidInput("no such column"), 2, "no such column"),
        (SettingsError("DATABASE_URL is not set"), 1, "DATABASE_URL is not set"),
        (Unavailable("no answer"), 1, "no answer"),
        (
            OSError(28, "No space left"),
            1,
            "a file cannot be written, nothing is imported: No",
        ),
        (KeyboardInterrupt(), 130, "broken off, nothing is imported"),
    ],
    ids=["input", "settings", "unavailable", "disk", "Ctrl-C"],
)
def test_error_is_one_line_on_standard_error(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, message: str
) -> None:
    def fail() -> str:
        raise error

    assert command_line.run("ingest", fail, outcome="nothing is imported") == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ingest: {message}")
    assert err.count("\n") == 1
