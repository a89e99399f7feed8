"""`python -m worker.feature_build`."""

from worker import command_line
from worker.features.build import main

if __name__ == "__main__":
    command_line.start(main)
