"""The options of an import on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from shared.statements.schema import ImportOptions
from worker.statements.cli_options import parse_args


def options(*argv: str) -> ImportOptions:
    return parse_args(argparse.ArgumentParser(), argv)[1]


def test_options_are_read_into_those_of_an_import() -> None:
    found = options(
        *("--user", "ada", "--map", "date=Booked on", "--map", "label=", "--delimiter", "tab"),
        *("--date-format", "dd/mm/yyyy", "--currency", "EUR", "--rejects", "bad.csv"),
    )

    assert found == ImportOptions(
        user="ada",
        columns={"date": "Booked on", "label": ""},
        delimiter="\t",
        date_format="dd/mm/yyyy",
        currency="EUR",
        rejects=Path("bad.csv"),
    )


def test_without_options_everything_is_inferred_from_the_file() -> None:
    assert options() == ImportOptions()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--map", "date"], "expected field=column"),
        (["--delimiter", "xy"], "--delimiter: give one character"),
        (["--encoding", "latin-99"], "latin-99"),
        (["--date-format", "yesterday"], "yesterday"),
        (["--currency", "euros"], "euros"),
        (["--sign", "up"], "invalid choice"),
    ],
)
def test_wrong_option_ends_the_command_with_a_line_that_names_it(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*argv)

    assert ended.value.code == 2
    assert message in capsys.readouterr().err
