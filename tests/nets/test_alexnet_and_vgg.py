# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""AlexNet and VGG-11 against numpy, published counts, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base, errors, nets
from distill_jax.nets import layers

# size of the kernel, and whether a pooling follows
ALEXNET = [(5, True), (5, True), (3, False), (3, False), (3, True)]
VGG11 = [(3, block in (0, 1, 3, 5, 7)) for block in range(8)]


def forward(reference, variables, x, plan, padding, normalise=None):
    """The features in numpy, and the logits."""
    params, outputs = variables.params, []
    for block, (size, is_pooled) in enumerate(plan):
        x = reference.conv(x, params[f"conv{block}"], size // 2 if block else padding)
        if normalise is not None:
            x = normalise(x, f"norm{block}")
        x = np.maximum(x, 0)
        x = reference.pool(x, np.max) if is_pooled else x
        outputs.append(x)
    x = x.reshape(len(x), -1)
    return [*outputs, x], reference.dense(x, params["dense"])


def test_alexnet_and_its_gradient_match_numpy(reference, check_gradient, draw, x64):
    net = nets.alexnet(3, width=2)
    variables, x = draw(net, (8, 9, 3))
    weights = np.random.default_rng(2).normal(size=(2, 3))

    @jax.jit
    def program(params):
        variables = base.Variables(params, {})
        features = net.features(variables, x)
        logits = net.apply(variables, x)
        loss_fn = lambda p: jnp.sum(net.apply(base.Variables(p, {}), x) * weights)
        return features, logits, jax.grad(loss_fn)(params)

    def in_numpy(params):
        return forward(
            reference, base.Variables(params, {}), np.asarray(x), ALEXNET, padding=2
        )

    features, logits, grads = program(variables.params)
    outputs, expected = in_numpy(variables.params)
    names = [*(f"block{block}" for block in range(5)), "penultimate"]
    assert sorted(features) == sorted(names)
    for name, output in zip(names, outputs, strict=True):
        np.testing.assert_allclose(features[name], output, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(logits, expected, atol=1e-12)
    check_gradient(lambda p: np.sum(in_numpy(p)[1] * weights), variables.params, grads)


def test_vgg11_with_instance_norm_matches_numpy(reference, draw, x64):
    net = nets.vgg11(3, width=2)
    variables, x = draw(net, (28, 28, 1))
    features, logits = jax.jit(lambda v: (net.features(v, x), net.apply(v, x)))(
        variables
    )
    normalise = lambda z, name: reference.norm(z, variables.params[name])
    outputs, expected = forward(
        reference, variables, np.asarray(x), VGG11, 3, normalise
    )
    for block, output in enumerate(outputs[:-1]):
        np.testing.assert_allclose(features[f"block{block}"], output, atol=1e-10)
    assert features["penultimate"].shape == (2, 16)
    np.testing.assert_allclose(logits, expected, atol=1e-10)


def test_vgg11_with_batch_norm_learns_statistics_and_infers_with_them(
    reference, draw, x64
):
    net = nets.vgg11(3, width=2, norm="batch")
    variables, x = draw(net, (32, 32, 3), num_rows=3)
    x = x + 1
    params, moved = variables.params, {}

    def over_batch(z, name):
        mean, var = z.mean((0, 1, 2)), z.var((0, 1, 2), ddof=1)
        moved[name] = {"mean": 0.1 * mean, "var": 0.9 + 0.1 * var}
        return reference.norm(z, params[name], axes=(0, 1, 2))

    logits, stats = jax.jit(net.apply_train)(variables, jax.random.key(2), x)
    _, expected = forward(reference, variables, np.asarray(x), VGG11, 1, over_batch)
    np.testing.assert_allclose(logits, expected, atol=1e-10)
    for name, leaves in moved.items():
        for leaf, value in leaves.items():
            actual = stats["batch_stats"][name][leaf]
            np.testing.assert_allclose(actual, value, atol=1e-12, err_msg=name)

    with_stats = lambda z, name: reference.norm(z, params[name], moved[name])
    _, expected = forward(reference, variables, np.asarray(x), VGG11, 1, with_stats)
    inferred = jax.jit(net.apply)(base.Variables(params, stats), x)
    np.testing.assert_allclose(inferred, expected, atol=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("num_classes", [10, 100])
def test_parameters_are_as_many_as_by_hand(channels, num_classes):
    shape = (28, 28, 1) if channels == 1 else (32, 32, 3)
    widths = {
        nets.alexnet: [channels, 128, 192, 256, 192, 192],
        nets.vgg11: [channels, 64, 128, 256, 256, 512, 512, 512, 512],
    }
    sizes = {nets.alexnet: [5, 5, 3, 3, 3], nets.vgg11: [3] * 8}
    num_features = {nets.alexnet: 192 * 4 * 4, nets.vgg11: 512}
    for make, width in widths.items():
        expected = (num_features[make] + 1) * num_classes
        per_channel = 1 if make is nets.alexnet else 3  # a bias; a norm's scale, bias
        for old, new, size in zip(width, width[1:], sizes[make], strict=False):
            expected += new * (old * size**2 + per_channel)
        net = make(num_classes)
        variables = jax.eval_shape(lambda: net.init(jax.random.key(0), shape))
        sizes_of = [leaf.size for leaf in jax.tree.leaves(variables.params)]
        assert sum(sizes_of) == expected


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rows", [28, 29, 30, 31])
def test_vgg11_pads_pictures_of_28_rows_whatever_their_channels(rows, channels):
    net, shape = nets.vgg11(10, width=2), (rows, 40, channels)
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), shape))
    x = jax.ShapeDtypeStruct((3, *shape), jnp.float32)
    assert jax.eval_shape(net.apply, variables, x).shape == (3, 10)
    assert variables.params["dense"]["kernel"].shape == (16, 10)


def test_counts_agree_with_those_that_are_published():
    for make, expected in ((nets.alexnet, 1_872_202), (nets.vgg11, 9_231_114)):
        net = make(10)
        variables = jax.eval_shape(lambda: net.init(jax.random.key(0), (32, 32, 3)))
        leaves = jax.tree.leaves(variables.params)
        assert sum(leaf.size for leaf in leaves) == expected


def test_the_kernel_size_counts_in_the_initial_weights():
    conv = layers.Conv(96, padding=2, size=5, use_bias=False)
    variables = conv.init(jax.random.key(0), jnp.zeros((1, 4, 4, 64)))
    assert list(variables["params"]) == ["kernel"]
    kernel, limit = variables["params"]["kernel"], (25 * 64) ** -0.5
    assert kernel.shape == (5, 5, 64, 96)
    assert 0.95 * limit < jnp.abs(kernel).max() <= limit


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (nets.alexnet, {"width": 5}, "must be even.*got 5"),
        (nets.alexnet, {"width": 0}, '"alexnet" must be .* at least 1, got 0'),
        (nets.vgg11, {"width": 1.5}, '"vgg11" must be a whole number'),
        (nets.vgg11, {"norm": "bacth"}, 'no norm "bacth".*"batch"'),
        (nets.vgg11, {"conv": "fft"}, 'no form "fft"'),
    ],
)
def test_impossible_options_are_refused(make, options, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        make(10, **options)


@pytest.mark.parametrize(
    ("make", "shape", "sentence"),
    [
        (nets.vgg11, (8, 8, 1), r"\"vgg11\" halves a picture 5 times.*`nets.convnet`"),
        (nets.vgg11, (27, 27, 3), r"\(27, 27, 3\) cannot bear"),
        (nets.alexnet, (7, 9, 1), "halves a picture 3 times"),
        (nets.alexnet, (64,), r"shape \(64,\); use `nets.mlp`"),
    ],
)
def test_examples_that_do_not_fit_are_refused(make, shape, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        make(10, width=2).init(jax.random.key(0), shape)
