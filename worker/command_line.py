"""Running of a command: errors as one line on standard error, and exit statuses."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from sqlalchemy.exc import DBAPIError, OperationalError

from shared.errors import InvalidInput, SettingsError, Unavailable


def run(name: str, command: Callable[[], str], *, outcome: str) -> int:
    """Run a command, print what it returns, and give the exit status.

    Args:
        name: begins each error message.
        outcome: the state after an error or Ctrl-C, such as "nothing is imported".
    """
    status = 1
    try:
        report = command()
    except InvalidInput as error:
        status, message = 2, str(error)
    except (SettingsError, Unavailable) as error:
        message = str(error)
    except OperationalError as error:
        message = f"PostgreSQL does not answer: {_one_line(error)}"
    except DBAPIError as error:
        message = f"PostgreSQL refused, {outcome}: {_one_line(error)}"
    except OSError as error:
        file = error.filename or "a file"
        message = f"{file} cannot be written, {outcome}: {error.strerror}"
    except KeyboardInterrupt:
        status, message = 130, f"broken off, {outcome}"
    else:
        print(report)
        return 0
    print(f"{name}: {message}", file=sys.stderr)
    return status


def start(main: Callable[[Sequence[str]], int]) -> None:
    """Run *main* with the process's arguments, and exit. A closed pipe of the output is no error.

    Characters that the terminal's encoding lacks are written as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with suppress(BrokenPipeError):
        raise SystemExit(main(sys.argv[1:]))


def _one_line(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
