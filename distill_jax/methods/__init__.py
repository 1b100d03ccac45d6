# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The named methods: compositions of the parts of this library, and nothing else.

Each returns a :class:`~distill_jax.base.Recipe`: the method, what feeds it, what it
starts from, and the protocol by which its result is judged.
"""

from distill_jax.methods.distribution import dm
from distill_jax.methods.kernel import frepo

__all__ = ["NAMES", "dm", "frepo"]

NAMES = {"dm": dm, "frepo": frepo}
