# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Bilevel methods on CIFAR-10: FRePo, RCIG and RaT-BPTT as published, and ours.

Paper:    those of the methods; their test accuracies at 1, 10 and 50 images per class,
          of the best checkpoint by test accuracy: FRePo 46.8, 65.5, 71.7; RCIG 53.9,
          69.1, 73.5; RaT-BPTT 53.2, 69.4, 75.3. Networks, rates, ridge and batches are
          theirs, and the 500,000 steps of FRePo; the steps of the others are ours.
Command:  DISTILL_JAX_DATA=data distill-jax distill \
            --config=configs/cifar10_bilevel.py:frepo,10 --workdir=runs/cifar10_frepo
Hardware: one GPU; not run yet. With :frepo,10,runlocal, 2 CPU cores and some
          minutes, most of which whitening takes.
Reached:  nothing yet; it waits for an accelerator.
"""

from distill_jax.cli import settings

OPTIONS = {
    "auto": {},
    "frepo": {"use_flip": True},
    "rcig": {},
    "rat_bptt": {"num_inner_steps": 200, "window": 60},
}
STEPS = {"auto": 20_000, "frepo": 500_000, "rcig": 100_000, "rat_bptt": 50_000}
# Networks are judged without normalisation, and have it while they distil.
INNER = {
    "frepo": {"norm": "batch_pre"},
    "rcig": {"norm": "batch_pre", "activation": "softplus", "softplus_beta": 60.0},
}
METHODS = list(OPTIONS)


def get_config(arg=None):
    method, num_per_class, rest = settings.split_arg(arg, METHODS)
    config = settings.default()
    config.title = f"{method} on CIFAR-10"
    config.data.name = "cifar10"
    config.data.normalization = "zca"
    config.num_per_class = num_per_class
    config.num_steps = STEPS[method]
    width = (128, 256, 512) if method in INNER else 128
    norm = "instance" if method == "rat_bptt" else "none"
    config.network = {"name": "convnet", "width": width, "depth": 3, "norm": norm}
    config.inner_network = INNER.get(method, {})
    config.method = {"name": method, "batch_size": 1024, **OPTIONS[method]}
    config.evaluate.num_real_steps = 10_000
    return settings.finish(config, rest)
