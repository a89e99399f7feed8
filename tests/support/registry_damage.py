"""Ways in which a stored version gets damaged, and what the refusal must name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from shared.registry import durable_files
from tests.support.registry_writer import run_id_of


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def truncate(path: Path, size: int) -> None:
    overwrite(path, path.read_bytes()[:size])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    overwrite(path, bytes(data))


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    overwrite(one, second)
    overwrite(other, first)


def link_to_a_copy(path: Path) -> None:
    """A symbolic link out of its folder, to the right content even."""
    path.rename(path.parents[2] / path.name)
    path.symlink_to(path.parents[2] / path.name)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def reseal(path: Path) -> None:
    """An edit by one who knows how the checksum is made."""
    body = durable_files.load_checksummed(path.read_bytes())
    overwrite(path, durable_files.dump_checksummed({**body, "meta": {"number": 99}}))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda v: truncate(v / "model.json", 100), "model.json: 100 bytes"),
    "emptied": (lambda v: truncate(v / "model.json", 0), "model.json: 0 bytes"),
    "zero tail": (
        lambda v: overwrite(
            v / "model.json", (v / "model.json").read_bytes()[:50].ljust(328, b"\0")
        ),
        "model.json: ",
    ),
    "one bit": (lambda v: flip_a_bit(v / "model.json"), "model.json: does not match its hash"),
    "longer": (
        lambda v: overwrite(v / "model.json", (v / "model.json").read_bytes() + b" "),
        "model.json: ",
    ),
    "swapped": (lambda v: swap(v / "model.json", v / "labels.json"), "model.json|labels.json"),
    "missing": (lambda v: (v / "labels.json").unlink(), "labels.json: missing"),
    "one more": (lambda v: (v / "more.json").write_bytes(b""), "more.json: not listed"),
    "linked": (lambda v: link_to_a_copy(v / "model.json"), "model.json: is not a file"),
    "fifo": (lambda v: fifo(v / "model.json"), "model.json: is not a file"),
    "folder": (lambda v: folder(v / "model.json"), "model.json: is not a file"),
    "manifest edited": (lambda v: flip_a_bit(v / "manifest.json"), "manifest.json: does not match"),
    "manifest emptied": (lambda v: overwrite(v / "manifest.json", b""), "manifest.json: does not"),
    "manifest gone": (lambda v: (v / "manifest.json").unlink(), "manifest.json: missing"),
    "manifest of another": (
        lambda v: overwrite(
            v / "manifest.json", (v.parent / run_id_of(1) / "manifest.json").read_bytes()
        ),
        "manifest.json: ",
    ),
    "whole folder linked": (lambda v: link_to_a_copy(v), "not a folder"),
}
