# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every objective reads the context of its networks, on both sides of its loss.

Under the mask m of a context, a network of the task computes f(m x). So an objective
of this task, on S and T, must give the numbers of the plain task on m S and m T:
its loss, its derivative, and its networks after they were trained.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from distill_jax import base, errors, objectives
from distill_jax.training import dynamic
from tests.support import masked

KEY = jax.random.key(3)
MASKS = masked.mask(0, 4), masked.mask(2, 3)
NUM_CLASSES = 3

OBJECTIVES = {
    "distribution": lambda task: objectives.distribution_matching(task),
    "gradient": lambda task: objectives.gradient_matching(
        task,
        distance="mse",
        num_matches=9,
        training=objectives.NetworkTraining(optax.sgd(0.5), num_epochs=2),
        probes=("syn_grad", "syn_grad_per_example"),
    ),
    "gradient trained on real examples": lambda task: objectives.gradient_matching(
        task,
        is_collective=True,
        distance="mse",
        num_matches=9,
        training=objectives.NetworkTraining(optax.sgd(0.5), on="real"),
    ),
    "alignment": lambda task: objectives.feature_alignment(
        task,
        learning_rate=0.5,
        limits=dynamic.Limits(0.0, 0.5, max_epochs=2, window_size=2),
    ),
    "kernel": lambda task: objectives.kernel_regression(
        task,
        num_networks=1,
        ridge=0.1,
        training=objectives.MemberTraining(learning_rate=0.1),
    ),
    "kernel that follows its networks": lambda task: objectives.kernel_regression(
        task,
        num_networks=1,
        ridge=0.1,
        num_implicit=2,
        damping=10.0,  # So much that nothing is clipped.
    ),
    "implicit": lambda task: objectives.implicit_bilevel(
        task,
        num_networks=1,
        num_steps=2,
        optimizer=optax.sgd(0.1),
    ),
    "trajectory": lambda task: objectives.trajectory_matching(task, num_steps=2),
    "trajectory with labels": lambda task: objectives.trajectory_matching(
        task, num_steps=2, assigns_labels=True
    ),
    "unrolled": lambda task: objectives.unrolled_training(
        task, num_steps=3, window=2, optimizer=optax.sgd(0.5)
    ),
}
every_objective = pytest.mark.parametrize("name", sorted(OBJECTIVES))


@functools.cache
def plain():
    return masked.task()


@functools.cache
def objective(name):
    """Of the task whose networks are drawn under the first mask."""
    return OBJECTIVES[name](masked.masked(plain(), lambda key: MASKS[0]))


def numbers(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@functools.cache
def synthetic():
    y = jnp.repeat(jnp.eye(NUM_CLASSES), 2, axis=0)
    rate = jnp.asarray(0.5)
    return base.Synthetic(numbers(6, 2, 3, 1), y, learning_rate=rate)


@functools.cache
def batch(name):
    y = jnp.repeat(jnp.eye(NUM_CLASSES)[:, None], 4, axis=1)
    by_class = base.Examples(numbers(3, 4, 2, 3, 1, seed=1), y)
    examples = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), by_class)
    if "trajectory" in name:
        ends = (plain().init(jax.random.key(seed), None).params for seed in (5, 6))
        return base.Segment(*(jax.tree.map(lambda leaf: leaf[None], p) for p in ends))
    if name == "gradient trained on real examples":
        return base.Pair(by_class, examples._replace(x=examples.x[::-1]))
    is_by_class = name in ("distribution", "gradient", "alignment")
    return by_class if is_by_class else examples


def hidden(tree, mask):
    """The same examples, of which a network without a context sees as much."""
    hide = lambda part: part._replace(x=masked.seen(part.x, mask))
    if isinstance(tree, base.Segment):
        return tree
    return base.Pair(*map(hide, tree)) if isinstance(tree, base.Pair) else hide(tree)


def in_context(inner, batch, mask):
    """The same with this context, wherever the objective keeps it."""
    if hasattr(inner, "context"):
        return inner._replace(context=mask.reshape(inner.context.shape)), batch
    if isinstance(batch, base.Segment):
        return inner, batch._replace(context=mask[None])
    examples = jax.tree.map(lambda leaf: leaf[None], batch)
    return inner, base.Contextual(examples, mask[None])


def numbers_of(objective, synthetic, inner, batch):
    """The loss, what comes with it, its derivative, and the inner state after it."""

    def loss(synthetic):
        return objective.loss(synthetic, KEY, inner, batch)

    out, grad = jax.value_and_grad(loss, has_aux=True)(synthetic)
    after = objective.advance(jax.random.key(8), inner, synthetic, batch)
    return out, grad, after


def without_context(inner):
    return inner._replace(context=None) if hasattr(inner, "context") else inner


def without_norms(out):
    """Hidden features count in the norm of the plain derivative."""
    value, (metrics, probes) = out
    names = metrics.keys() - {"implicit_norm"}
    return value, {name: metrics[name] for name in names}, probes


def close(one, two):
    tolerance = {"rtol": 2e-4, "atol": 2e-6}
    compare = functools.partial(np.testing.assert_allclose, **tolerance)
    jax.tree.map(compare, one, two)


@every_objective
def test_a_context_counts_on_both_sides_and_in_training(name):
    compute = jax.jit(functools.partial(numbers_of, objective(name)))
    compute_plain = jax.jit(functools.partial(numbers_of, OBJECTIVES[name](plain())))
    first, losses = objective(name).init(jax.random.key(7), synthetic()), []
    for mask in MASKS:
        inner, drawn = in_context(first, batch(name), mask)
        out, grad, after = compute(synthetic(), inner, drawn)
        seen = hidden(synthetic(), mask)
        expected, slope, trained = compute_plain(
            seen, without_context(inner), hidden(batch(name), mask)
        )
        close(*map(without_norms, (out, expected)))
        close(grad, hidden(slope, mask))  # d L(m x) / dx = m L'(m x)
        close(without_context(after), trained)
        assert np.abs(grad.x).max() > 0
        losses.append(float(out[0]))
    assert abs(losses[0] - losses[1]) > 1e-3 * abs(losses[0])


@every_objective
def test_networks_are_drawn_in_contexts_of_the_task(name):
    inner = objective(name).init(jax.random.key(7), synthetic())
    if hasattr(inner, "context"):
        np.testing.assert_array_equal(jnp.squeeze(inner.context), MASKS[0].squeeze())
    # Without a context there is the tree of before: nothing was added to its leaves.
    inner = OBJECTIVES[name](plain()).init(jax.random.key(7), synthetic())
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(inner)]
    assert not [path for path in paths if "context" in path]
    if name == "distribution":  # A checkpoint knows leaves by their paths.
        assert {path.partition("[")[0] for path in paths} == {".params"}


def test_an_unrolled_network_draws_a_context_where_the_batch_brings_none():
    drawn = objective("unrolled").loss(synthetic(), KEY, {}, batch("unrolled"))[0]
    inner, given = in_context({}, batch("unrolled"), MASKS[0])
    brought = objective("unrolled").loss(synthetic(), KEY, inner, given)[0]
    np.testing.assert_allclose(drawn, brought, rtol=1e-6)


def judged_by_hand(task, key, mask, examples, num_steps, learning_rate):
    """The loss on the examples of a network trained on the set, all in one context."""
    _, key_net, _, _, key_steps = jax.random.split(key, 5)
    variables = task.init(key_net, mask)

    def mean_loss(params):
        network = base.Variables(params, {})
        return task.train_loss(network, key, synthetic(), mask)[0].mean()

    for _ in range(num_steps):
        slope = jax.grad(mean_loss)(variables.params)
        descend = lambda leaf, slope: leaf - learning_rate * slope
        params = jax.tree.map(descend, variables.params, slope)
        variables = base.Variables(params, {})
    return task.test_loss(variables, key_steps, examples, mask).mean()


def test_the_loss_in_several_contexts_is_the_mean_over_contexts_and_networks():
    task = masked.masked(plain())
    unrolled = objectives.unrolled_training(
        task, num_steps=2, optimizer=optax.sgd(0.5), num_networks=2
    )
    examples = batch("unrolled")
    shifted = examples._replace(x=examples.x + 1.0)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), examples, shifted)
    contexts = base.Contextual(stacked, jnp.stack(MASKS))
    loss = jax.jit(unrolled.loss)(synthetic(), KEY, {}, contexts)[0]
    pairs = [(MASKS[0], examples)] * 2 + [(MASKS[1], shifted)] * 2
    keys = jax.random.split(KEY, 4)
    values = [
        judged_by_hand(task, key, *pair, num_steps=2, learning_rate=0.5)
        for key, pair in zip(keys, pairs, strict=True)
    ]
    np.testing.assert_allclose(loss, np.mean(values), rtol=1e-5)
    assert np.std(values) > 1e-3


def test_a_loss_that_needs_no_examples_gets_none():
    def residual(variables, key, data, mask):
        assert data is None
        return (plain().predict(variables, mask[None], None) - 1.0) ** 2

    task = masked.masked(plain())._replace(test_loss=residual)
    unrolled = objectives.unrolled_training(task, num_steps=1, optimizer=optax.sgd(0.5))
    loss = lambda set_, contexts: unrolled.loss(set_, KEY, {}, contexts)[0]
    contexts = base.Contextual(None, jnp.stack(MASKS))
    value, grad = jax.jit(jax.value_and_grad(loss))(synthetic(), contexts)
    assert np.abs(grad.x).max() > 0
    turned = base.Contextual(None, 2.0 * jnp.stack(MASKS))
    assert abs(loss(synthetic(), turned) - value) > 1e-3


@pytest.mark.parametrize("name", sorted({*OBJECTIVES} - {"unrolled"}))
def test_contexts_of_a_batch_are_refused_where_networks_have_their_own(name):
    inner = jax.eval_shape(objective(name).init, KEY, synthetic())
    with pytest.raises(errors.InputError, match="cannot take a batch of contexts"):
        jax.eval_shape(
            objective(name).loss,
            synthetic(),
            KEY,
            inner,
            base.Contextual(batch(name), jnp.stack(MASKS)),
        )


def test_a_fixed_kernel_refuses_contexts():
    kernel = objectives.kernel_inducing_points()
    contexts = base.Contextual(batch("kernel"), jnp.stack(MASKS))
    with pytest.raises(errors.InputError, match="no network that could learn in them"):
        kernel.loss(synthetic(), KEY, {}, contexts)
