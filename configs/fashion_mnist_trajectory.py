# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""MTT, FTD, TESLA and DATM on Fashion-MNIST, sized for two CPU cores.

Paper:    those of the methods; none of them has Fashion-MNIST.
Command:  DISTILL_JAX_DATA=data distill-jax distill \
            --config=configs/fashion_mnist_trajectory.py:mtt,10 \
            --workdir=runs/fashion_mtt
Hardware: 2 CPU cores
Reached:  see docs/results.md, made by benchmarks/accuracy.py over three seeds.
"""

from distill_jax.cli import settings

METHODS = ["mtt", "ftd", "tesla", "datm"]
# The papers have 100 experts of 50 epochs; starts are below the fourth epoch here.
EXPERTS = {
    "num_experts": 3,
    "num_epochs": 5,
    "learning_rate": 0.01,
    "batch_size": 256,
    "keeps_end": True,  # The same experts for all that look at flat ones.
}
SEGMENTS = {
    "num_expert_epochs": 2,
    "last_start": 4,
    "learning_rate": 100.0,
    "rate_learning_rate": 1e-6,
    "initial_rate": 0.02,
}
STUDENT = {
    1: {"num_student_steps": 20},
    10: {"num_student_steps": 20, "batch_size": 50},
}
ONLY = {
    "mtt": {},
    "ftd": {"decay": 0.9},  # The paper's 0.995 is made for thousands of steps.
    "tesla": {},
    "datm": {"label_learning_rate": 2.0, "window": (2, 50)},
}
STEPS = {1: 150, 10: 60}


def get_config(arg=None):
    method, num_per_class, rest = settings.split_arg(arg, METHODS)
    few = 1 if num_per_class == 1 else 10
    config = settings.default()
    config.title = f"{method.upper()} on Fashion-MNIST"
    config.data.name = "fashion_mnist"
    config.num_per_class = num_per_class
    config.num_steps = STEPS[few]
    config.network = {"name": "convnet", "width": 32, "depth": 3}
    is_flat = method in ("ftd", "datm")
    kind = "flat" if is_flat else "plain"
    config.method = {
        "name": method,
        "experts": {**EXPERTS, "sharpness": {"alpha": 0.3} if is_flat else None},
        "buffer": f"runs/experts/fashion_mnist_{kind}",
        **SEGMENTS,
        **STUDENT[few],
        **ONLY[method],
    }
    config.evaluate.num_curve_runs = 1
    config.evaluate.num_checkpoints = 2
    config.evaluate.num_real_steps = 500
    config.evaluate.num_expert_epochs = 2
    config.protocol.num_epochs = 301 if few == 1 else 151  # the papers: 1001
    return settings.finish(config, rest)
