# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The ConvNet against stored numbers, counts of parameters, and its options."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from distill_jax import base, errors, nets

OPTIONS = {
    "convnet_28x28x1": {},
    "convnet_32x32x3": {},
    "convnet_variant_groupnorm_swish_avgpooling_d2": {
        "norm": "group",
        "activation": "swish",
    },
    "convnet_variant_instancenorm_leakyrelu_none_d2": {
        "activation": "leaky_relu",
        "pooling": "none",
    },
    "convnet_variant_instancenorm_relu_avgpooling_d4": {},
    "convnet_variant_instancenorm_relu_maxpooling_d3": {"pooling": "max"},
    "convnet_variant_instancenorm_sigmoid_avgpooling_d2": {"activation": "sigmoid"},
    "convnet_variant_none_relu_avgpooling_d3": {"norm": "none"},
}


@pytest.mark.parametrize("form", ["cpu", "xla"])
@pytest.mark.parametrize("name", OPTIONS)
def test_convnet_repeats_the_original(name, form, golden, assert_near):
    file = golden(name)
    for is_double, tolerance, grad_tolerance in (
        (True, 1e-10, 1e-10),
        (False, 1e-5, 1e-3),
    ):
        with jax.enable_x64(is_double):
            _compare(file, OPTIONS[name], form, assert_near, tolerance, grad_tolerance)


def _compare(file, options, form, assert_near, tolerance, grad_tolerance):
    net = nets.convnet(
        int(file["num_classes"]),
        width=int(file["width"]),
        depth=int(file["depth"]),
        conv=form,
        **options,
    )
    params = nets.load_flat(file, prefix="params/")
    images, labels = jnp.asarray(file["images"]), jnp.asarray(file["labels"])
    key, shape = jax.random.key(0), images.shape[1:]
    template = jax.eval_shape(lambda: net.init(key, shape))
    assert jax.tree.map(jnp.shape, template.params) == jax.tree.map(jnp.shape, params)

    def loss_fn(params, images):
        variables = base.Variables(params, {})
        logits = net.apply(variables, images)
        embed = net.features(variables, images)["penultimate"]
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        return loss.mean(), (logits, embed)

    # Without any optimisation a maximum and what it is compared with round differently.
    level = {"xla_backend_optimization_level": 1} if "pooling" in options else {}
    grad_fn = jax.jit(
        jax.value_and_grad(loss_fn, (0, 1), has_aux=True), compiler_options=level
    )
    (loss, (logits, embed)), (grads, image_grad) = grad_fn(params, images)
    assert_near(logits, file["logits"], tolerance, "logits")
    assert_near(embed, file["embed"], tolerance, "embed")
    assert_near(loss, file["loss"], tolerance, "loss")
    assert_near(image_grad, file["image_grad"], tolerance, "image_grad")
    expected = nets.load_flat(file, prefix="grad/")
    jax.tree.map(lambda a, b: assert_near(a, b, grad_tolerance), grads, expected)


@pytest.mark.parametrize(
    ("shape", "num_classes", "depth", "expected"),
    [
        ((32, 32, 3), 10, 3, 320_010),
        ((28, 28, 1), 10, 3, 317_706),
        ((32, 32, 3), 100, 3, 504_420),
        ((64, 64, 3), 200, 4, 857_160),
    ],
)
def test_convnet_has_as_many_parameters_as_published(
    shape, num_classes, depth, expected
):
    net = nets.convnet(num_classes, depth=depth)
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), shape))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables.params)) == expected


def test_features_are_named_by_block():
    net = nets.convnet(3, width=4, depth=2)
    variables = net.init(jax.random.key(0), (8, 8, 1))
    x = jax.random.normal(jax.random.key(1), (5, 8, 8, 1))
    features = net.features(variables, x)
    assert {name: leaf.shape for name, leaf in features.items()} == {
        "block0": (5, 4, 4, 4),
        "block1": (5, 2, 2, 4),
        "penultimate": (5, 16),
    }
    dense = variables.params["dense"]
    logits = features["penultimate"] @ dense["kernel"] + dense["bias"][None]
    np.testing.assert_allclose(logits, net.apply(variables, x), rtol=1e-5, atol=1e-6)


def test_initial_weights_and_biases_are_uniform_by_fan_in():
    params = nets.convnet(10, width=64).init(jax.random.key(0), (32, 32, 3)).params
    for layer, fan_in in (("conv0", 27), ("conv1", 576), ("dense", 1024)):
        limit = fan_in**-0.5
        kernel, bias = params[layer]["kernel"], params[layer]["bias"]
        assert 0.95 * limit < jnp.abs(kernel).max() <= limit
        assert 0.5 * limit < jnp.abs(bias).max() <= limit
        np.testing.assert_allclose(kernel.std(), limit / 3**0.5, rtol=0.06)
    assert jnp.all(params["norm0"]["scale"] == 1)
    assert jnp.all(params["norm0"]["bias"] == 0)


@pytest.mark.parametrize("num_rows", [1, 6])
def test_batch_norm_keeps_running_statistics_as_pytorch_does(num_rows):
    net = nets.convnet(3, width=4, depth=1, norm="batch", pooling="none", momentum=0.3)
    variables = net.init(jax.random.key(0), (5, 5, 2))
    x = jax.random.normal(jax.random.key(1), (num_rows, 5, 5, 2)) + 1
    conv = variables.params["conv0"]
    z = nets.conv2d(x, conv["kernel"]) + conv["bias"].reshape(1, 1, 1, -1)
    z = np.asarray(z, np.float64).reshape(-1, 4)

    logits, stats = net.apply_train(variables, jax.random.key(2), x)
    moved = jax.tree.map(np.asarray, stats["batch_stats"]["norm0"])
    np.testing.assert_allclose(moved["mean"], 0.3 * z.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        moved["var"], 0.7 + 0.3 * z.var(0, ddof=1), rtol=1e-5, atol=1e-6
    )
    dense = variables.params["dense"]

    def head(normalised):
        hidden = np.maximum(normalised, 0).reshape(num_rows, -1)
        return hidden @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])

    batch = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)
    np.testing.assert_allclose(logits, head(batch), rtol=1e-4, atol=1e-5)
    running = (z - moved["mean"]) / np.sqrt(moved["var"] + 1e-5)
    inference = net.apply(base.Variables(variables.params, stats), x)
    np.testing.assert_allclose(inference, head(running), rtol=1e-4, atol=1e-5)


def test_inference_leaves_statistics_alone_and_starts_from_zero_and_one():
    net = nets.convnet(3, width=4, depth=1, norm="batch")
    stats = net.init(jax.random.key(0), (4, 4, 1)).stats
    assert jnp.all(stats["batch_stats"]["norm0"]["mean"] == 0)
    assert jnp.all(stats["batch_stats"]["norm0"]["var"] == 1)


def test_batch_pre_normalises_before_each_convolution_but_the_first():
    net = nets.convnet(10, width=(4, 8, 16), norm="batch_pre")
    variables = jax.jit(net.init, static_argnums=1)(jax.random.key(0), (28, 28, 1))
    params = variables.params
    assert sorted(params) == ["conv0", "conv1", "conv2", "dense", "norm1", "norm2"]
    assert params["norm1"]["scale"].shape == (4,)
    assert params["norm2"]["scale"].shape == (8,)
    assert params["conv2"]["kernel"].shape == (3, 3, 8, 16)
    x = jax.random.normal(jax.random.key(1), (4, 28, 28, 1))
    first = net.features(variables, x)["block0"]
    conv = params["conv0"]
    z = nets.conv2d(x, conv["kernel"], padding=3) + conv["bias"].reshape(1, 1, 1, -1)
    pooled = np.maximum(z, 0).reshape(4, 16, 2, 16, 2, 4).mean((2, 4))
    np.testing.assert_allclose(first, pooled, rtol=1e-4, atol=1e-6)


def test_layer_norm_has_a_scale_for_each_value():
    net = nets.convnet(3, width=4, depth=1, norm="layer", pooling="none")
    variables = net.init(jax.random.key(0), (4, 6, 2))
    assert variables.params["norm0"]["scale"].shape == (4, 6, 4)
    x = jax.random.normal(jax.random.key(1), (3, 4, 6, 2))
    conv = variables.params["conv0"]
    z = nets.conv2d(x, conv["kernel"]) + conv["bias"].reshape(1, 1, 1, -1)
    z = np.asarray(z).reshape(3, -1)
    z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
    hidden = net.features(variables, x)["penultimate"]
    np.testing.assert_allclose(hidden, np.maximum(z, 0), rtol=1e-4, atol=1e-5)


def test_softplus_approaches_relu_with_its_beta():
    x = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))
    relu = nets.convnet(3, width=4, depth=1)
    variables = relu.init(jax.random.key(0), (8, 8, 1))
    gaps = []
    for beta in (1.0, 60.0):
        net = nets.convnet(
            3, width=4, depth=1, activation="softplus", softplus_beta=beta
        )
        gap = net.apply(variables, x) - relu.apply(variables, x)
        gaps.append(float(jnp.abs(gap).max()))
    assert gaps[1] < 0.01 < gaps[0]


def test_convnet_trains_in_a_jitted_scan_mapped_over_keys():
    net = nets.convnet(3, width=4, depth=1, norm="batch")
    x = jax.random.normal(jax.random.key(1), (6, 4, 4, 1))

    @jax.jit
    @jax.vmap
    def train(key):
        def step(variables, key):
            def loss_fn(params):
                variables_now = variables._replace(params=params)
                logits, stats = net.apply_train(variables_now, key, x)
                return jnp.mean(logits**2), stats

            (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(
                variables.params
            )
            update = lambda leaf, grad: leaf - 0.1 * grad
            params = jax.tree.map(update, variables.params, grads)
            return base.Variables(params, stats), loss

        return jax.lax.scan(step, net.init(key, (4, 4, 1)), jax.random.split(key, 5))[1]

    losses = train(jax.random.split(jax.random.key(0), 2))
    assert losses.shape == (2, 5)
    assert jnp.all(losses[:, -1] < losses[:, 0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"norm": "instanc"}, 'no norm "instanc".*"instance"'),
        ({"activation": "rely"}, 'no activation "rely".*"relu"'),
        ({"pooling": "avgpool"}, 'no pooling "avgpool".*"avg"'),
        ({"conv": "fft"}, 'no form "fft"'),
        ({"depth": 0}, "depth of a ConvNet must be .* at least 1, got 0"),
        ({"width": (4, 8)}, "depth 3 needs 3 widths, but 2"),
        ({"width": 0}, "must be a whole number and positive"),
        ({"width": 6, "norm": "group"}, "multiple of 4"),
        ({"first_padding": "same"}, '`first_padding` of a ConvNet is "auto"'),
        ({"activation": "softplus", "softplus_beta": 0.0}, "must be above 0, got 0"),
        ({"momentum": 1.5}, "between 0 and 1, got 1.5"),
    ],
)
def test_impossible_options_are_refused(options, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        nets.convnet(10, **options)


def test_a_network_too_deep_for_the_pictures_is_refused():
    with pytest.raises(errors.InputError, match=r"depth 5 .*\(8, 8, 1\).* at most 3"):
        nets.convnet(10, width=4, depth=5).init(jax.random.key(0), (8, 8, 1))
    deep = nets.convnet(10, width=4, depth=5, pooling="none")
    assert deep.init(jax.random.key(0), (8, 8, 1)).params["dense"]["kernel"].size


def test_examples_that_are_no_pictures_are_refused():
    with pytest.raises(errors.InputError, match=r"shape \(64,\); use `nets.mlp`"):
        nets.convnet(10, width=4).init(jax.random.key(0), (64,))
