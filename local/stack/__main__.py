"""`python -m local.stack up|down|status|logs|run`."""

import sys

from local.stack.control import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
