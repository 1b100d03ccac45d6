# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Bilevel methods on scikit-learn's digits: kernels, and training unrolled.

Paper:    those of the methods; none of them has digits but KIP.
Command:  distill-jax distill --config=configs/digits_bilevel.py:rcig,10 \
            --workdir=runs/digits_rcig
Hardware: 2 CPU cores
Reached:  see docs/results.md, made by benchmarks/accuracy.py over three seeds.
"""

from distill_jax.cli import settings

KERNEL = {"learning_rate": 1e-2, "ridge": 1e-3}
TRAINING = {"learning_rate": 1e-2, "label_learning_rate": 1e-2, "final_rate": 0.05}
OPTIONS = {
    "auto": {},
    "frepo": {**KERNEL, "optimizer": "adam"},
    "rcig": {**KERNEL, "label_learning_rate": 1e-2, "final_rate": 0.1},
    "kip": {
        "use_learned_labels": True,
        "learning_rate": 1e-2,
        "final_rate": 0.0,
        "ridge": 1e-2,
    },
    "bptt": {**TRAINING, "num_inner_steps": 20, "network_learning_rate": 3e-3},
    "rat_bptt": {
        **TRAINING,
        "num_inner_steps": 60,
        "window": 20,
        "network_learning_rate": 3e-3,
    },
}
# About half a minute each.
STEPS = {
    "auto": 1000,
    "frepo": 1000,
    "rcig": 1500,
    "kip": 150,
    "bptt": 500,
    "rat_bptt": 500,
}
METHODS = list(OPTIONS)


def get_config(arg=None):
    method, num_per_class, rest = settings.split_arg(arg, METHODS)
    config = settings.default()
    config.title = f"{method} on digits"
    config.data.name = "digits"
    config.num_per_class = num_per_class
    config.num_steps = STEPS[method]
    config.network = {"name": "mlp", "hidden": (256, 256)}
    config.method = {"name": method, "batch_size": 960, **OPTIONS[method]}
    config.evaluate.num_real_steps = 300
    config.evaluate.expert_learning_rate = 0.1
    if method in (
        "frepo",
        "rcig",
        "kip",
        "auto",
    ):  # The others say how they are judged.
        config.protocol.update(
            learning_rate=1e-3, num_steps=300, warmup_steps=30, augmentation="none"
        )
    return settings.finish(config, rest)
