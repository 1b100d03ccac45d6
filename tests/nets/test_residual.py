# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 against numpy, published counts, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base, errors, nets

HALVING = (2, 4, 6)


def forward(reference, params, x, downsampling, normalise):
    """The outputs of the blocks in numpy, the last features, and the logits."""

    def conv_norm(x, block, part, padding, stride, is_pooled=False):
        x = reference.conv(x, block[f"conv{part}"], padding, stride)
        x = reference.pool(x, np.mean) if is_pooled else x
        return normalise(x, block, f"norm{part}")

    outputs = []
    x = np.maximum(conv_norm(x, params, "", 1, 1), 0)
    for index in range(8):
        block = params[f"residual{index}"]
        is_halving = index in HALVING
        stride = 2 if is_halving and downsampling == "stride" else 1
        is_pooled = is_halving and downsampling == "avg_pool"
        hidden = np.maximum(conv_norm(x, block, "0", 1, stride), 0)
        hidden = reference.pool(hidden, np.mean) if is_pooled else hidden
        hidden = conv_norm(hidden, block, "1", 1, 1)
        if is_halving:
            x = conv_norm(x, block, "_shortcut", 0, stride, is_pooled)
        x = np.maximum(hidden + x, 0)
        outputs.append(x)
    x = x.mean((1, 2)) if downsampling == "stride" else x.reshape(len(x), -1)
    return [*outputs, x], reference.dense(x, params["dense"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("downsampling", "num_features"), [("stride", 16), ("avg_pool", 64)]
)
def test_resnet18_and_its_gradient_match_numpy(
    downsampling, num_features, reference, check_gradient, draw, x64
):
    net = nets.resnet18(3, width=2, downsampling=downsampling)
    variables, x = draw(net, (16, 17, 3))
    weights = np.random.default_rng(2).normal(size=(2, 3))

    @jax.jit
    def program(params):
        def loss_fn(params):
            variables = base.Variables(params, {})
            logits = net.apply(variables, x)
            return jnp.sum(logits * weights), (net.features(variables, x), logits)

        return jax.grad(loss_fn, has_aux=True)(params)

    def in_numpy(params):
        normalise = lambda z, block, name: reference.norm(z, block[name])
        return forward(reference, params, np.asarray(x), downsampling, normalise)

    grads, (features, logits) = program(variables.params)
    outputs, expected = in_numpy(variables.params)
    names = [*(f"block{block}" for block in range(8)), "penultimate"]
    assert sorted(features) == sorted(names)
    for name, output in zip(names, outputs, strict=True):
        np.testing.assert_allclose(features[name], output, atol=1e-9, err_msg=name)
    width_left = 3 if downsampling == "stride" else 2  # 17 columns: 9, 5, 3 or 8, 4, 2
    assert features["block7"].shape == (2, 2, width_left, 16)
    assert features["penultimate"].shape == (2, num_features)
    np.testing.assert_allclose(logits, expected, atol=1e-9)
    check_gradient(lambda p: np.sum(in_numpy(p)[1] * weights), variables.params, grads)


@pytest.mark.slow
def test_batch_norm_learns_statistics_and_infers_with_them(reference, draw, x64):
    net = nets.resnet18(3, width=2, norm="batch")
    variables, x = draw(net, (8, 8, 1), num_rows=5)
    params, moved = variables.params, {}

    def over_batch(z, block, name):
        mean, var = z.mean((0, 1, 2)), z.var((0, 1, 2), ddof=1)
        moved[id(block), name] = {"mean": 0.1 * mean, "var": 0.9 + 0.1 * var}
        return reference.norm(z, block[name], axes=(0, 1, 2))

    logits, stats = jax.jit(net.apply_train)(variables, jax.random.key(2), x)
    _, expected = forward(reference, params, np.asarray(x), "stride", over_batch)
    np.testing.assert_allclose(logits, expected, atol=1e-9)
    for block in (None, *range(8)):
        where = stats["batch_stats"]
        owner = params
        if block is not None:
            where, owner = where[f"residual{block}"], params[f"residual{block}"]
        for name in (name for name in owner if name.startswith("norm")):
            value = moved[id(owner), name]
            for leaf in ("mean", "var"):
                np.testing.assert_allclose(where[name][leaf], value[leaf], atol=1e-10)
    assert len(moved) == 20

    def with_stats(z, block, name):
        return reference.norm(z, block[name], moved[id(block), name])

    _, expected = forward(reference, params, np.asarray(x), "stride", with_stats)
    inferred = jax.jit(net.apply)(base.Variables(params, stats), x)
    np.testing.assert_allclose(inferred, expected, atol=1e-9)


def test_parameters_are_as_many_as_by_hand_and_as_published():
    def by_hand(channels, positions):
        total = 64 * (9 * channels + 2) + (512 * positions + 1) * 10
        old = 64
        for index, new in enumerate((64, 64, 128, 128, 256, 256, 512, 512)):
            total += new * (9 * old + 2) + new * (9 * new + 2)
            total += new * (old + 2) if index in HALVING else 0
            old = new
        return total

    assert by_hand(3, 1) == 11_173_962  # The count that is published for CIFAR-10.
    for shape, options, positions in (
        ((32, 32, 3), {}, 1),
        ((28, 28, 1), {"norm": "batch"}, 1),
        ((32, 32, 3), {"downsampling": "avg_pool"}, 16),
        ((28, 28, 1), {"downsampling": "avg_pool"}, 9),
    ):
        net = nets.resnet18(10, **options)
        variables = jax.eval_shape(lambda: net.init(jax.random.key(0), shape))
        leaves = jax.tree.leaves(variables.params)
        assert sum(leaf.size for leaf in leaves) == by_hand(shape[-1], positions)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 0}, '"resnet18" must be a whole number of at least 1, got 0'),
        ({"norm": "none"}, 'no norm "none"'),
        ({"downsampling": "avgpool"}, 'no downsampling "avgpool".*"avg_pool"'),
        ({"conv": "fft"}, 'no form "fft"'),
    ],
)
def test_impossible_options_are_refused(options, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        nets.resnet18(10, **options)


@pytest.mark.parametrize(
    ("options", "shape", "sentence"),
    [
        ({}, (8, 8, 1), 'makes zero of a single one; use .*norm="batch"'),
        ({"downsampling": "avg_pool"}, (15, 15, 1), "1 x 1 positions"),
        ({"downsampling": "avg_pool", "norm": "batch"}, (7, 9, 1), "0 x 1 positions"),
        ({}, (64,), r"shape \(64,\); use `nets.mlp`"),
    ],
)
def test_examples_that_do_not_fit_are_refused(options, shape, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        nets.resnet18(10, width=2, **options).init(jax.random.key(0), shape)
