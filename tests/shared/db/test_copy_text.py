"""Values in the text format of COPY, as PostgreSQL itself reads and writes them."""

from __future__ import annotations

import io

import pytest
from sqlalchemy import Engine, text

from shared.db import copy_text

TEXTS = [
    "",
    "plain",
    r"\N",
    "tab\there",
    "two\nlines",
    "back\\slash",
    "cr\r",
    "ÅßΣ, 日本",
    "\b\f\v",
]


@pytest.mark.parametrize("value", TEXTS)
def test_text_is_unchanged_after_copy_to_postgresql(engine: Engine, value: str) -> None:
    """What `encode` writes PostgreSQL reads, and what it writes `decode` reads."""
    out = io.StringIO()
    with engine.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE texts (value text) ON COMMIT DROP"))
        cursor = connection.connection.cursor()
        cursor.copy_expert("COPY texts FROM STDIN", io.StringIO(copy_text.encode(value) + "\n"))
        stored = connection.scalar(text("SELECT value FROM texts"))
        cursor.copy_expert("COPY texts TO STDOUT", out)

    assert stored == value
    assert copy_text.decode(out.getvalue().removesuffix("\n")) == value


def test_null_is_decoded_as_no_text() -> None:
    assert copy_text.decode(copy_text.NULL) is None
