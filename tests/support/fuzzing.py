# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts what readers make of changed files.

``NUM_CHANGES=300 pytest -s -k changed_files`` prints the rows of the table in
docs/reliability.md.
"""

import collections
import contextlib
import io
import logging
import os
import warnings

from distill_jax import errors

NUM_CHANGES = int(os.environ.get("NUM_CHANGES", "200"))


def came_of(read, right):
    """What came of a reader: "refused", "equal", "other" or an exception in words."""
    logging.disable(logging.WARNING)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            value = read()
        except errors.InputError as error:
            return "refused" if str(error).strip() else "an error without words"
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:200]
        finally:
            logging.disable(logging.NOTSET)
    return "equal" if value == right else "other"


def check(name, read, change, *, has_digest=False, is_mended=False):
    """Reads after each of some changes; refused in a sentence, or read.

    Args:
      name: of the reader.
      read: gives what is compared.
      change: takes a seed, changes files, and gives a function that undoes it.
      has_digest: whether nothing may be read as something else.
      is_mended: whether what is damaged is made whole, so that nothing is refused.
    """
    right, num = read(), NUM_CHANGES
    counts, bad = collections.Counter(), []
    for seed in range(num):
        undo = change(seed)
        found = came_of(read, right)
        undo()
        is_known = found in ("refused", "equal", "other")
        counts[found if is_known else "exception"] += 1
        if not is_known or (has_digest and found == "other"):
            bad.append(f"seed {seed}: {found}")
    numbers = [counts[each] for each in ("refused", "equal", "other", "exception")]
    print(f"\n| {name} | {num} | {' | '.join(map(str, numbers))} |")
    assert not bad, "\n".join([f"{name}: {len(bad)} of {num}", *bad[:20]])
    assert is_mended or counts["refused"] > num // 20
    assert came_of(read, right) == "equal"
