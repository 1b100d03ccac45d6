# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""PyTorch doing the same work, for `versus_torch.py`: one file for each kind of it."""
