# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Labels learned for one random real image of each of the classes of Digits-100.

Paper:    Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
          Distillation", 2024, section 5; Digits-100 is not in it.
Command:  distill-jax distill --workdir=runs/digits100_label_bptt \
            --config=configs/digits100_learned_labels.py:label_bptt,1
Hardware: 2 CPU cores
Reached:  on the test set, over five students, with one image of each class: label_bptt
          74.2 +- 0.6 %, label_mtt 70.3 +- 0.7, label_ridge 72.9 +- 1.1. The same images
          reach 37.2 +- 0.7 with hard labels, and others 69.5 +- 0.8 with those of an
          expert. Distilling takes half a minute, of label_ridge a whole one, and all
          of the command three, on cores that were shared.
"""

from distill_jax.cli import settings

EXPERTS = {
    "num_experts": 2,
    "num_epochs": 40,
    "learning_rate": 0.1,
    "batch_size": 250,
}
OPTIONS = {
    "label_bptt": {
        "num_inner_steps": 60,
        "window": 30,
        "learning_rate": 5e-3,
        "batch_size": 500,
        "network_optimizer": "sgd",
        "network_learning_rate": 0.05,
    },
    "label_mtt": {
        "num_student_steps": 20,
        "num_expert_epochs": 2,
        "last_start": 6,
        "rate_learning_rate": 1e-4,
        "initial_rate": 0.05,
        "augmentation": "none",
        "experts": EXPERTS,
        "buffer": "runs/experts/digits100",
    },
    "label_ridge": {"batch_size": 500, "learning_rate": 5e-3},
}
STEPS = {"label_bptt": 250, "label_mtt": 300, "label_ridge": 500}
METHODS = list(OPTIONS)


def get_config(arg=None):
    arg = f"1,{arg or ''}"  # Of one image per class, unless it says otherwise.
    method, num_per_class, rest = settings.split_arg(arg, METHODS)
    config = settings.default()
    config.title = f"{method} on Digits-100"
    config.data.name = "digits100"
    config.num_per_class = num_per_class
    config.num_steps = STEPS[method]
    config.network = {"name": "mlp", "hidden": (128,)}
    config.method = {"name": method, **OPTIONS[method]}
    # The students of the study of soft labels, for one or two images of each class.
    config.protocol.update(
        optimizer="sgd",
        learning_rate=0.05,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="staircase",
        decay_rate=0.3,
        num_steps=600,
        batch_size=256,
        augmentation="none",
    )
    config.evaluate.num_expert_epochs = 16
    config.evaluate.expert_learning_rate = 0.01
    return settings.finish(config, rest)
