"""A small model, and kernels that are wrong in one place."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.model.classifier import Model
from shared.native import build, library
from tests.support.trained_models import transactions
from worker.training import fit


@pytest.fixture(scope="session")
def small_model() -> Model:
    return fit.fit(*transactions(400, 9))


@pytest.fixture
def faulty_kernel(
    small_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], None]:
    """Replaces the library by one of a changed source that claims the digest of ours."""

    def put(right: str, wrong: str) -> None:
        text = build.SOURCE.read_text()
        assert text.count(right) == 1
        source, faulty_library = tmp_path / "kernel.c", tmp_path / "libkernel.so"
        source.write_text(text.replace(right, wrong))
        define = f'-DSOURCE="{build.source_digest()}"'
        compiler = shlex.split(os.environ.get("CC") or "cc")
        try:
            subprocess.run(
                [*compiler, *build.FLAGS, define, str(source), "-o", str(faulty_library), "-lm"],
                check=True,
            )
        except FileNotFoundError:
            pytest.skip("there is no C compiler here: a faulty kernel was NOT tried")
        monkeypatch.setattr(library, "LIBRARY", faulty_library)

    return put
