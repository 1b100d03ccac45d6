# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""CAFE on Fashion-MNIST, much smaller than in the paper.

Paper:    Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features", 2022;
          there with width 128 and 2000 networks, 83.0 % at 10 per class.
Command:  DISTILL_JAX_DATA=data distill-jax distill \
            --config=configs/fashion_mnist_cafe.py --workdir=runs/fashion_mnist_cafe
Hardware: 2 CPU cores
Reached:  nothing yet; neither the accuracy nor the time was measured.
"""

from distill_jax import settings


def get_config(arg=None):
    config = settings.default()
    config.title = "CAFE on Fashion-MNIST"
    config.data.name = "fashion_mnist"
    config.num_per_class = 10
    config.num_steps = 600
    config.network = {"name": "convnet", "width": 32, "depth": 3}
    config.method = {
        "name": "cafe",
        "batch_size": 64,
        "learning_rate": 0.1,
        "initialisation": "real",
        "num_queries": 16,
        "max_epochs": 10,
    }
    config.evaluate.num_curve_runs = 1
    config.evaluate.num_checkpoints = 2
    config.evaluate.num_real_steps = 500
    config.evaluate.num_expert_epochs = 2
    return settings.finish(config, arg)
