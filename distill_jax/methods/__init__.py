# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The named methods: compositions of the parts of this library, and nothing else.

Each returns a :class:`~distill_jax.base.Recipe`: the method, what feeds it, what it
starts from, and the protocol by which its result is judged.
"""

from distill_jax.methods.difficulty_aligned import datm
from distill_jax.methods.distribution import cafe, dm
from distill_jax.methods.gradient import dc, dcc, dsa, dsac
from distill_jax.methods.inducing import kip
from distill_jax.methods.initial_examples import initial_fn
from distill_jax.methods.kernel import frepo, rcig
from distill_jax.methods.label_draws import LearnedDraws, learn_draws
from distill_jax.methods.labels import label_bptt
from distill_jax.methods.labels_by_ridge import label_ridge
from distill_jax.methods.labels_by_trajectories import label_mtt
from distill_jax.methods.multi_formation import idc
from distill_jax.methods.recommended import auto
from distill_jax.methods.registry import NAMES, build, options_of, parameters_of
from distill_jax.methods.trajectory import ftd, mtt, tesla
from distill_jax.methods.unrolled import bptt, rat_bptt

__all__ = [
    "NAMES",
    "LearnedDraws",
    "auto",
    "bptt",
    "build",
    "cafe",
    "datm",
    "dc",
    "dcc",
    "dm",
    "dsa",
    "dsac",
    "frepo",
    "ftd",
    "idc",
    "initial_fn",
    "kip",
    "label_bptt",
    "label_mtt",
    "label_ridge",
    "learn_draws",
    "mtt",
    "options_of",
    "parameters_of",
    "rat_bptt",
    "rcig",
    "tesla",
]
