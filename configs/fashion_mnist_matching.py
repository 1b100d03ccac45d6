# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""DC, DSA, DCC, DSAC, DM, IDC and CAFE on Fashion-MNIST, sized for two CPU cores.

Paper:    those of the methods, there with width 128 and up to a hundred times as many
          steps; their test accuracies at 1 and 10 images per class: DC 70.5, 82.3;
          DSA 70.6, 84.6; CAFE 77.1, 83.0.
Command:  DISTILL_JAX_DATA=data distill-jax distill \
            --config=configs/fashion_mnist_matching.py:dsa,10 --workdir=runs/fashion_dsa
Hardware: 2 CPU cores
Reached:  see docs/results.md, made by benchmarks/accuracy.py over three seeds.
"""

from distill_jax.cli import settings

# Fewer matches and epochs of the network than the papers', and real starts, at 10.
LOOPS = {"num_matches": 10, "num_epochs": 3, "initialisation": "real"}
# As in the paper, class by class for the first quarter of the networks.
WARM_UP = {"warm_up": (5, 10)}
# The published rate is made for a thousand times as many steps; these were chosen
# among 0.006, 0.06 and, at 10, 0.6 on the validation split.
IDC = {"num_train_examples": 256}
# Augmented as on the digits, where it is what makes one picture per class work.
CAFE = {
    "initialisation": "real",
    "num_queries": 16,
    "max_epochs": 10,
    "augmentation": "auto",
}
OPTIONS = {
    "dsa": {1: {}, 10: LOOPS},
    "dc": {1: {}, 10: LOOPS},
    "dcc": {1: WARM_UP, 10: LOOPS | WARM_UP},
    "dsac": {1: WARM_UP, 10: LOOPS | WARM_UP},
    "dm": {1: {}, 10: {}},
    "idc": {1: IDC | {"learning_rate": 0.006}, 10: IDC | {"learning_rate": 0.06}},
    "cafe": {1: CAFE, 10: CAFE},
}
# Outer steps at 1 and at 10 images per class, for about a minute or two each.
STEPS = {
    "dsa": (200, 150),
    "dc": (200, 150),
    "dcc": (200, 150),
    "dsac": (200, 150),
    "dm": (500, 500),
    "idc": (200, 100),
    "cafe": (150, 100),
}
METHODS = list(OPTIONS)


def get_config(arg=None):
    method, num_per_class, rest = settings.split_arg(arg, METHODS)
    few = num_per_class == 1
    config = settings.default()
    config.title = f"{method.upper()} on Fashion-MNIST"
    config.data.name = "fashion_mnist"
    config.num_per_class = num_per_class
    config.num_steps = STEPS[method][0 if few else 1]
    config.network = {"name": "convnet", "width": 32, "depth": 3}
    options = OPTIONS[method][1 if few else 10]
    config.method = {"name": method, "batch_size": 32, **options}
    config.evaluate.num_curve_runs = 1
    config.evaluate.num_checkpoints = 2
    config.evaluate.num_real_steps = 500
    config.evaluate.num_expert_epochs = 2
    config.protocol.num_epochs = 301 if few else 151  # the papers: 301 or 1001
    return settings.finish(config, rest)
