"""What is kept of texts helps with those that come again, and stays within bounds."""

from __future__ import annotations

import random
import subprocess
import sys

from shared.features import brands, encoder, extract, taxonomy
from shared.features.extract import RawTransaction, features_of
from shared.model import label_history
from shared.model.candidates import encode_rows
from shared.text.cache import MAX_TEXT, cached

SIGNS = [chr(sign) for sign in range(0x4E00, 0x9000)]
KEEPING = [
    held
    for module in (brands, encoder, extract, label_history, taxonomy)
    for held in vars(module).values()
    if hasattr(held, "cache_info") and held.__module__ == module.__name__
]


def read(words: int, rows: int) -> None:
    """Rows of texts that never came before and never come again."""
    draw = random.Random(1)

    def text() -> str:
        return " ".join("".join(draw.choices(SIGNS, k=8)) for _ in range(words))

    for _ in range(rows):
        encode_rows([features_of(RawTransaction(merchant=text(), description=text()))], b"key")


def test_a_text_that_comes_again_is_not_read_again_unless_it_is_long() -> None:
    asked: list[str] = []

    @cached(10)
    def upper(text: str) -> str:
        asked.append(text)
        return text.upper()

    long = "x" * (MAX_TEXT + 1)

    assert [upper(text) for text in ("a", "a", long, long)] == [
        "A",
        "A",
        long.upper(),
        long.upper(),
    ]
    assert asked == ["a", long, long]


def test_of_long_texts_nothing_is_kept_but_their_words() -> None:
    read(words=3, rows=1)  # tables are read, whatever the text
    for held in KEEPING:
        if held.cache_info().maxsize != 1:
            held.cache_clear()

    read(words=100, rows=5)

    found = {held.__name__: held.cache_info().currsize for held in KEEPING}
    assert {name for name, size in found.items() if size > 1} <= {"_word_key"}


def test_whatever_comes_a_process_keeps_little_of_it() -> None:
    """In a process of its own: what has once been used is seldom given back to the system."""
    code = (
        "import psutil\n"
        "from tests.shared.text.test_cache import read\n"
        "read(5, 10)\n"
        "before = psutil.Process().memory_info().rss\n"
        "read(5, 12_000)\n"
        "print((psutil.Process().memory_info().rss - before) // 10**6)\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert int(ran.stdout) < 40  # MB
