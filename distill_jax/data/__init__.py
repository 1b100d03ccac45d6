# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""."""
