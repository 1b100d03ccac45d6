# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks by description: what is stored builds the same network again."""

import json

import jax
import numpy as np
import pytest

from distill_jax import errors, nets


@pytest.mark.parametrize(
    "net",
    [
        nets.mlp(3, hidden=(5,)),
        nets.convnet(3, width=4, depth=2, norm="group", activation="swish"),
        nets.convnet(3, width=(4, 8), depth=2, norm="batch_pre", first_padding=2),
    ],
    ids=["mlp", "convnet", "convnet widths"],
)
def test_a_network_is_built_again_from_json(net):
    description = json.loads(json.dumps(net.description))
    again = nets.build(description)
    assert again.description == net.description
    variables = net.init(jax.random.key(0), (8, 8, 1))
    repeated = again.init(jax.random.key(0), (8, 8, 1))
    jax.tree.map(np.testing.assert_array_equal, variables, repeated)
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
    np.testing.assert_array_equal(net.apply(variables, x), again.apply(variables, x))


@pytest.mark.parametrize(
    "net",
    [
        nets.alexnet(3, width=2),
        nets.vgg11(3, width=2, norm="none", conv="xla"),
        nets.resnet18(3, width=2, norm="batch", downsampling="avg_pool"),
    ],
    ids=["alexnet", "vgg11", "resnet18"],
)
def test_a_deep_network_is_built_again_from_json(net):
    again = nets.build(json.loads(json.dumps(net.description)))
    assert again.description == net.description
    first, second = (
        jax.eval_shape(lambda: which.init(jax.random.key(0), (32, 32, 3)))
        for which in (net, again)
    )
    assert first == second


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ({"name": "convnett", "num_classes": 3}, '"convnett".*Did you mean "convnet"'),
        ({"num_classes": 3}, 'no network ""'),
        (
            {"name": "mlp", "num_classes": 3, "hiden": [4]},
            'no option "hiden".*"hidden"',
        ),
        ({"name": "mlp"}, "does not say `num_classes`"),
    ],
)
def test_wrong_descriptions_are_refused(description, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        nets.build(description)
