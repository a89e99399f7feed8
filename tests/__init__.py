"""The tests mirror the packages: one file a module, and folders for what runs whole."""

from pathlib import Path

ROOT = Path(__file__).parents[1]  # of the repository
