# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Structure against softness: labels as soft as those of experts that know nothing.

``shuffled`` labels keep their largest entry and their entropy and lose the order of the
others; ``smooth`` ones have as much mass on other classes, spread evenly; ``noisy``
ones put a share on the true class and the rest at random; and of soft labels the surer
half can be mixed with noise.
"""

from collections.abc import Mapping

import jax

import distill_jax as dj
from distill_jax import labels
from distill_jax.labels import metrics, transforms
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows, Tables

__all__ = ["EXPERIMENT"]

_SHARES = (0.8, 0.9, 0.95)  # of the true class in noisy labels
_AMOUNTS = (0.01, 0.05, 0.1)  # of noise in the surer half of soft labels


def _tables(bench, key, unit, size, index) -> Tables:
    soft, hard = bench.soft(unit, index, bench.chosen[size]), bench.hard(index)
    classes, num_classes = bench.dataset.train.y[index], soft.shape[1]
    key_shuffle, key_mix, *keys = jax.random.split(key, 2 + len(_SHARES))
    tail = 1 - metrics.top_mass(soft, 1).mean()
    evenly = transforms.smooth(hard, tail * num_classes / (num_classes - 1))
    tables: Tables = {
        ("soft", 0.0): soft,
        ("hard", 0.0): hard,
        ("shuffled", 0.0): labels.shuffle_non_top(key_shuffle, soft),
        ("smooth", 0.0): evenly,
    }
    for share, key_noise in zip(_SHARES, keys, strict=True):
        noisy = transforms.noisy_true_class(key_noise, classes, num_classes, share)
        tables["noisy", share] = noisy
    for amount in _AMOUNTS:  # The same noise, more of it.
        mixed = transforms.mix_noise_lowest_entropy(key_mix, soft, 0.5, amount)
        tables["half mixed with noise", amount] = mixed
    return tables


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    claims = []
    for size in units.sizes_of(rows):
        of = lambda name, amount=0.0, at=size: units.of(
            rows, size=at, labels=name, amount=amount
        )
        pairs = {
            "hard ones": (of("soft"), of("hard")),
            "shuffled ones of the same entropy": (of("soft"), of("shuffled")),
            "evenly smoothed ones": (of("soft"), of("smooth")),
            "ones with 20 % of random mass": (of("soft"), of("noisy", 0.8)),
            "those whose surer half is mixed with 10 % of noise": (
                of("soft"),
                of("half mixed with noise", 0.1),
            ),
        }
        claims += [
            summaries.claim_of(
                f"Soft labels are better than {words} at {size} per class.",
                units.minus(*pair),
                above=0.0,
                unit="points",
                paper="structure, not softness, is what helps (section 4)",
            )
            for words, pair in pairs.items()
        ]
        claims.append(
            summaries.claim_of(
                f"Shuffled labels are worse than hard ones at {size} per class.",
                units.minus(of("hard"), of("shuffled")),
                above=0.0,
                unit="points",
                paper="4.6, 15.0 and 28.7 % against 4.6, 19.1 and 36.7 at 1, 10 and 50 "
                "per class in a reproduction on CIFAR-100",
            )
        )
    return dj.report.Section(
        "Structure, not entropy",
        claims=claims,
        tables=[units.table_by_size(rows, "Test accuracy in % by what the labels are")],
    )


EXPERIMENT = bench_lib.Experiment(bench_lib.of_tables(_tables), _section, (1, 5))
