# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: from a config to calls of the public API."""
