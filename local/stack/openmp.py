"""The path of the OpenMP library, which LightGBM's wheel needs and a slim machine may lack.

scikit-learn's wheel has a copy. `python -m local.stack.openmp` prints the LD_LIBRARY_PATH with
which LightGBM finds it; unchanged on a machine that has the library.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

from local.stack.layout import NATIVE

OPENMP = "libgomp.so.1"


def library_path(folder: Path = NATIVE) -> str:
    """Return the LD_LIBRARY_PATH; link scikit-learn's OpenMP into *folder* if needed."""
    present = os.environ.get("LD_LIBRARY_PATH", "")
    if sys.platform != "linux" or _loads(OPENMP):
        return present
    sklearn = importlib.util.find_spec("sklearn")
    if sklearn is None or not sklearn.submodule_search_locations:
        return present
    site_packages = Path(sklearn.submodule_search_locations[0]).resolve().parent
    for library in site_packages.glob("scikit_learn.libs/libgomp-*.so*"):
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{OPENMP}-{os.getpid()}"
        draft.symlink_to(library)
        draft.replace(folder / OPENMP)
        return ":".join(filter(None, (str(folder), present)))
    return present


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    print(library_path())
