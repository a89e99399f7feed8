"""A text file that gets its name only when it is complete."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from shared.errors import InvalidInput


class Draft:
    """A file that is written beside its path and renamed to it in one step."""

    def __init__(self, path: Path, *, name: str, option: str) -> None:
        """Create nothing yet.

        Args:
            name: of the contents, for the error of `open`.
            option: of the command line, by which another path can be given.
        """
        self.path = path
        self._name = name
        self._option = option
        # Named for the process: two commands may write the same file at once.
        self._draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._file: TextIO | None = None

    def open(self) -> TextIO:
        """Open the draft; bytes that `surrogateescape` read are written as they were.

        Raises:
            InvalidInput: its folder cannot be written, or the path is a folder.
        """
        try:
            if self.path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            self._file = self._draft.open(
                "w", encoding="utf-8", errors="surrogateescape", newline=""
            )
        except OSError as error:
            raise InvalidInput(
                f"the {self._name} cannot be written to {self.path}: {error.strerror}; "
                f"name another place with {self._option}"
            ) from error
        return self._file

    def sync(self) -> None:
        """Write to disk what is written so far."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def publish(self) -> None:
        """Give the file its name."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._draft.replace(self.path)

    def close(self) -> None:
        """Remove the draft, if it is not published."""
        if self._file is not None:
            self._file.close()
            with suppress(OSError):
                self._draft.unlink(missing_ok=True)
