# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Seeded changes to the content of files, as damage and malice make them."""

import copy
import json
import random

JSON_VALUES = (
    *(None, True, 0, -1, 1.5, 2**70, "", "x", [], {}, [[]], [1], {"a": 1}),
    *(float("nan"), float("inf"), -1e308, "\ud800", "\u0000", "9" * 5000),
)


def of_bytes(content, seed, *, first=0):
    """Changes a few bytes, cuts, repeats, exchanges or inserts a part.

    The first bytes are left as they are, such as those of a head that is checked before
    all else.
    """
    rng = random.Random(seed)
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(min(first, len(content)), len(content) + 1)
        end = min(len(content), at + rng.choice((1, 2, 4, 8, 64, 1000)))
        kind = rng.randrange(8)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[at:end] = rng.randbytes(end - at)
        elif kind == 2:
            content[at:end] = bytes([rng.choice((0, 255, 127, 128))]) * (end - at)
        elif kind == 3:
            del content[at:end]
        elif kind == 4:
            content[at:at] = rng.randbytes(end - at)
        elif kind == 5:
            content[at:at] = content[at:end]
        elif kind == 6:
            del content[at:]
        elif at + 4 <= len(content):
            number = rng.choice(
                (0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.getrandbits(32))
            )
            content[at : at + 4] = number.to_bytes(4, rng.choice(("little", "big")))
    return bytes(content)


def of_json(content, seed):
    """Changes the bytes of a document, or a value in it for one of another kind."""
    rng = random.Random(seed)
    if rng.random() < 0.3:
        return of_bytes(content, seed)
    if rng.random() < 0.05:
        return b"[" * 100_000
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 3))):
        document = _changed(document, rng)
    return json.dumps(document).encode()


def of_lines(content, seed):
    """Changes a file of one JSON document a line."""
    rng = random.Random(seed)
    lines = content.split(b"\n")
    if rng.random() < 0.3:
        return of_bytes(content, seed)
    at = rng.randrange(max(1, len(lines) - 1))
    lines[at] = of_json(lines[at] or b"{}", seed)
    return b"\n".join(lines)


def _changed(document, rng):
    """The document with one of its values, at any depth, changed."""
    places = [(None, None)]
    left = [document]
    while left:
        node = left.pop()
        if isinstance(node, dict | list):
            keys = [*node] if isinstance(node, dict) else range(len(node))
            places += [(node, key) for key in keys]
            left += [node[key] for key in keys]
    holder, key = rng.choice(places)
    value = copy.deepcopy(rng.choice(JSON_VALUES))  # What is put into it stays there.
    if holder is None:
        return value if rng.random() < 0.1 else document
    kind = rng.randrange(4)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"{key}{rng.randrange(3)}"] = holder.pop(key)
    elif kind == 2 and isinstance(holder[key], int | float):
        holder[key] = holder[key] * rng.choice((-1, 0, 0.5, 2, 10**6))
    else:
        holder[key] = value
    return document
