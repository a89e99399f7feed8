"""Building the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.native import build


def test_building_without_a_compiler_prints_so_and_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "libkernel.so"
    stale.write_bytes(b"of another source")
    monkeypatch.setattr(build, "LIBRARY", stale)
    monkeypatch.setenv("CC", "no-such-compiler")

    assert build.main() == 0

    assert not stale.exists()
    assert capsys.readouterr().err == (
        "There is no C compiler (no-such-compiler): "
        "predictions give the same answers, and take twice as long.\n"
    )
