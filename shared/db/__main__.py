"""`python -m shared.db migrate`."""

import sys

from shared.db.engine import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
