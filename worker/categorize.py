"""`python -m worker.categorize`."""

from worker import command_line
from worker.statements.annotate import main

if __name__ == "__main__":
    command_line.start(main)
