# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""MTT, FTD, TESLA and DATM on scikit-learn's digits.

Paper:    those of the methods; none of them has digits.
Command:  distill-jax distill --config=configs/digits_trajectory.py:mtt,10 \
            --workdir=runs/digits_mtt
Hardware: 2 CPU cores
Reached:  nothing yet.
"""

from distill_jax import settings

METHODS = ["mtt", "ftd", "tesla", "datm"]
EXPERTS = {
    "num_experts": 20,
    "num_epochs": 20,
    "learning_rate": 0.05,
    "batch_size": 64,
}
SEGMENTS = {
    "num_student_steps": 20,
    "num_expert_epochs": 2,
    "last_start": 10,
    "learning_rate": 10.0,
    "rate_learning_rate": 1e-5,
    "initial_rate": 0.05,
}
ONLY = {
    "mtt": {},
    "ftd": {"decay": 0.99},
    "tesla": {},
    "datm": {"label_learning_rate": 2.0, "window": (5, 100)},
}


def get_config(arg=None):
    method, num_per_class, rest = settings.split_arg(arg, METHODS)
    config = settings.default()
    config.title = f"{method.upper()} on digits"
    config.data.name = "digits"
    config.num_per_class = num_per_class
    config.num_steps = 300
    config.network = {"name": "convnet", "width": 32, "depth": 2}
    is_flat = method in ("ftd", "datm")
    experts = {**EXPERTS, "last_epoch": 11, "keeps_end": method == "datm"}
    experts["sharpness"] = {"radius": 0.01, "alpha": 0.3} if is_flat else None
    config.method = {
        "name": method,
        "experts": experts,
        "buffer": f"runs/experts/digits_{method}",
        **SEGMENTS,
        **ONLY[method],
    }
    return settings.finish(config, rest)
