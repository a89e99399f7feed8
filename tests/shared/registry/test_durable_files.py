"""Durable files: whole or not there, checked before they are parsed, and locked by one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.registry import durable_files


def test_checksummed_text_is_read_back_and_any_changed_byte_is_refused() -> None:
    line = durable_files.dump_checksummed({"run_id": "a", "sequence": 3})

    assert durable_files.load_checksummed(line) == {"run_id": "a", "sequence": 3}
    for position in range(len(line)):
        changed = bytearray(line)
        changed[position] ^= 1
        with pytest.raises(ValueError, match="checksum"):
            durable_files.load_checksummed(bytes(changed))


def test_replaced_file_has_the_new_content_and_no_draft_is_left(tmp_path: Path) -> None:
    path = tmp_path / "CURRENT"
    durable_files.replace(path, b"one")
    durable_files.replace(path, b"two")

    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_appended_line_does_not_join_an_incomplete_one(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(b"whole\ntorn")

    durable_files.append(path, b"next\n")

    assert path.read_bytes() == b"whole\ntorn\nnext\n"


def test_only_regular_files_of_the_expected_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")

    assert durable_files.read(tmp_path / "file", 5) == b"12345"
    for name, limit in (("file", 4), ("link", 9), ("pipe", 9), ("missing", 9), (".", 9)):
        with pytest.raises(ValueError, match=r"at most|not a file|missing"):
            durable_files.read(tmp_path / name, limit)
    assert durable_files.read_if_there(tmp_path / "missing") is None


def test_lock_is_taken_by_one_and_free_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()

    with (
        durable_files.closing(os.open(path, os.O_RDWR)) as first,
        durable_files.closing(os.open(path, os.O_RDWR)) as second,
    ):
        assert durable_files.try_lock(first)
        assert not durable_files.try_lock(second)
        assert not durable_files.try_lock(second, shared=True)
    with durable_files.closing(os.open(path, os.O_RDWR)) as third:
        assert durable_files.try_lock(third)
        assert durable_files.is_same_file(third, path)
        path.unlink()
        assert not durable_files.is_same_file(third, path)
