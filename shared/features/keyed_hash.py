"""A keyed hash of short texts, so that a stored model holds no text and no id.

With the key one can still test a guess; so the key is part of a model and never leaves the service.
"""

from __future__ import annotations

from hashlib import blake2b


def keyed_hash(text: str, kind: str, key: bytes) -> int:
    """64 bits of BLAKE2b over *text*; equal texts of different kinds (16 bytes) differ.

    *key* has up to 64 bytes.
    """
    digest = blake2b(text.encode(), digest_size=8, key=key, person=kind.encode()).digest()
    return int.from_bytes(digest, "little")
