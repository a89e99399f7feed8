r"""The text format of PostgreSQL's COPY: `\N` is NULL, a backslash escapes.

Source: "Text Format" under COPY in PostgreSQL's manual. Octal and hexadecimal escapes are not
decoded: PostgreSQL reads them, but never writes them.
"""

from __future__ import annotations

import re

NULL = r"\N"
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MEANING = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def encode(value: str) -> str:
    """Escape a text without NUL characters."""
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    if not value.isprintable():
        value = value.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return value


def decode(value: str) -> str | None:
    """Read one value of a line, as PostgreSQL or `encode` wrote it."""
    if "\\" not in value:
        return value
    if value == NULL:
        return None
    return _ESCAPE.sub(lambda match: _MEANING.get(match[1], match[1]), value)
