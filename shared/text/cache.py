"""What was made of texts, kept for when they come again: of so many at most, and of no long ones.

A process answers for years, and what it keeps must fit into its memory whatever it is asked. How
many is measured: of 60,000 made-up bank lines, 64 % were among the 8,192 read last and 67 % among
the 32,768; of cleaned merchants 94 % among 4,096. Most long texts are sentences that come once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

MAX_TEXT = 100  # characters, of all texts of a call together; more is made anew each time

F = TypeVar("F", bound=Callable[..., Any])


def cached(most: int) -> Callable[[F], F]:
    """As lru_cache, for a function of texts alone."""

    def decorate(make: F) -> F:
        of_short = lru_cache(maxsize=most)(make)

        @wraps(make)
        def told(*texts: str | bytes) -> Any:
            return (of_short if sum(map(len, texts)) <= MAX_TEXT else make)(*texts)

        told.cache_info = of_short.cache_info  # type: ignore[attr-defined]  # as lru_cache has them
        told.cache_clear = of_short.cache_clear  # type: ignore[attr-defined]
        return cast("F", told)

    return decorate
