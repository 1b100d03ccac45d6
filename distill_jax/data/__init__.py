# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data sets in memory, whatever they came from, and their normalisation.

data = load("fashion_mnist")          # the folder: data_dir=... or DISTILL_JAX_DATA
source = to_source(data)              # on the device, an argument of jit
x = normalize(source.normalizer, source.x[:64])
"""

from distill_jax.data.checks import check_num_per_class
from distill_jax.data.dataset import (
    Arrays,
    Dataset,
    DataSpec,
    describe,
    groups_of,
)
from distill_jax.data.normalizer import (
    Normalizer,
    denormalize,
    identity_normalizer,
    mean_std_normalizer,
    normalize,
    pixel_bounds,
    to_pixels,
    zca_normalizer,
)
from distill_jax.data.registry import from_arrays, load, names
from distill_jax.data.selected import Selection, make_selection, select, view
from distill_jax.data.source import class_table, to_source
from distill_jax.data.split import stratified_split

__all__ = [
    "Arrays",
    "DataSpec",
    "Dataset",
    "Normalizer",
    "Selection",
    "check_num_per_class",
    "class_table",
    "denormalize",
    "describe",
    "from_arrays",
    "groups_of",
    "identity_normalizer",
    "load",
    "make_selection",
    "mean_std_normalizer",
    "names",
    "normalize",
    "pixel_bounds",
    "select",
    "stratified_split",
    "to_pixels",
    "to_source",
    "view",
    "zca_normalizer",
]
