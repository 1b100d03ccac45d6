# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line as ``python -m distill_jax``."""

from distill_jax.cli import main

if __name__ == "__main__":
    main.main()
