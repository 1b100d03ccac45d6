# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes `toy` importable from the tests beside it and from their subprocesses."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
