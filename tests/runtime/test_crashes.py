# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Work that is killed anywhere and repeated comes to what it would have come to.

The counts of docs/reliability.md are what this prints with ``-s``.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import distill_jax

CRASHES = pathlib.Path(__file__).parents[1] / "support" / "crashes.py"


@pytest.mark.long(timeout=1800)
@pytest.mark.parametrize(
    ("kind", "num"), [("kills", 100), ("run", 60), ("buffer", 60), ("save", 60)]
)
def test_killed_work_that_is_repeated_ends_as_if_nothing_had_been(kind, num, tmp_path):
    root = pathlib.Path(distill_jax.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", CRASHES, kind, str(num), tmp_path],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    print(kind, counts)
    assert not counts["others"]
    assert counts["killed"] >= min(num, counts.get("operations", num))
