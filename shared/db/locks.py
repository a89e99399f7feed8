"""Keys of PostgreSQL's advisory locks."""

from __future__ import annotations

MIGRATION = 7_310_019
IMPORT = 7_310_020  # merging a file into the transactions
TRAFFIC_SPLIT = 7_310_022  # a change of the split, and what must not see one half-done
