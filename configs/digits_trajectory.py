# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""MTT, FTD, TESLA and DATM on scikit-learn's digits.

Paper:    those of the methods; none of them has digits.
Command:  distill-jax distill --config=configs/digits_trajectory.py:mtt,10 \
            --workdir=runs/digits_mtt
Hardware: 2 CPU cores
Reached:  see docs/results.md, made by benchmarks/accuracy.py over three seeds.
"""

from distill_jax.cli import settings

METHODS = ["mtt", "ftd", "tesla", "datm"]
EXPERTS = {
    "num_experts": 20,
    "num_epochs": 20,
    "learning_rate": 0.05,
    "batch_size": 64,
    "last_epoch": 11,
    "keeps_end": True,  # DATM asks it which pictures it classifies correctly.
}
SEGMENTS = {
    "num_expert_epochs": 2,
    "last_start": 10,
    "learning_rate": 10.0,
    "rate_learning_rate": 1e-5,
    "initial_rate": 0.05,
}
STUDENT = {
    1: {"num_student_steps": 20},
    10: {"num_student_steps": 20, "batch_size": 50},
}
ONLY = {
    "mtt": {},
    "ftd": {"decay": 0.99},
    "tesla": {},
    "datm": {"label_learning_rate": 2.0, "window": (5, 100)},
}
STEPS = {1: 300, 10: 200}


def get_config(arg=None):
    method, num_per_class, rest = settings.split_arg(arg, METHODS)
    few = 1 if num_per_class == 1 else 10
    config = settings.default()
    config.title = f"{method.upper()} on digits"
    config.data.name = "digits"
    config.num_per_class = num_per_class
    config.num_steps = STEPS[few]
    config.network = {"name": "convnet", "width": 32, "depth": 2}
    is_flat = method in ("ftd", "datm")
    kind = "flat" if is_flat else "plain"
    config.method = {
        "name": method,
        "experts": {**EXPERTS, "sharpness": {"alpha": 0.3} if is_flat else None},
        "buffer": f"runs/experts/digits_{kind}",
        **SEGMENTS,
        **STUDENT[few],
        **ONLY[method],
    }
    return settings.finish(config, rest)
