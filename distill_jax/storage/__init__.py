# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is stored: distilled sets, and files that are replaced whole."""

from distill_jax.storage import (
    atomic,
    description,
    digests,
    distilled,
    json_files,
    label_checks,
    locks,
    merging,
    npz_json,
)

__all__ = [
    "atomic",
    "description",
    "digests",
    "distilled",
    "json_files",
    "label_checks",
    "locks",
    "merging",
    "npz_json",
]
