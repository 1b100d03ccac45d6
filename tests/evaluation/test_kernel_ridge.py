# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kernel ridge regression as an evaluation, against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors, evaluation
from distill_jax.inner import ntk

linear = lambda x, y: x.reshape(len(x), -1) @ y.reshape(len(y), -1).T


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


@pytest.fixture(scope="module")
def images(digits):
    seed = dj.methods.initial_fn("real", 2)(jax.random.key(0), digits)
    return dj.Synthetic(seed.x, seed.y - 0.1)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_accuracy_is_that_of_the_formula_in_numpy(split, digits, images):
    arrays = getattr(digits, split)
    flat = lambda x: np.asarray(x, np.float64).reshape(len(x), -1)
    x_s = flat(images.x)
    x = flat(dj.data.normalize(digits.spec.normalizer, arrays.x))
    shift = 0.1 * np.trace(x_s @ x_s.T) / 20 * np.eye(20)
    predicted = x @ x_s.T @ np.linalg.solve(x_s @ x_s.T + shift, np.asarray(images.y))
    accuracy = evaluation.kernel_ridge_accuracy(
        images, digits, kernel=linear, ridge=0.1, split=split
    )
    assert accuracy == pytest.approx(
        np.mean(predicted.argmax(axis=1) == arrays.y), abs=1.5 / len(arrays.y)
    )


def test_the_size_of_the_chunks_does_not_matter(digits, images):
    accuracies = {
        evaluation.kernel_ridge_accuracy(
            images, digits, kernel=linear, split="validation", chunk_size=size
        )
        for size in (7, 240, 10_000)
    }
    assert len(accuracies) == 1


def test_all_training_examples_classify_the_digits(digits):
    x = dj.data.normalize(digits.spec.normalizer, digits.train.x)
    whole = dj.Synthetic(x, jax.nn.one_hot(digits.train.y, 10) - 0.1)
    for split, least in (("train", 0.999), ("validation", 0.98)):
        assert evaluation.kernel_ridge_accuracy(whole, digits, split=split) > least


def test_the_kernel_and_the_ridge_are_those_given(digits, images):
    shallow = evaluation.kernel_ridge_accuracy(images, digits, split="train")
    same = evaluation.kernel_ridge_accuracy(
        images, digits, kernel=ntk.fully_connected_kernel(), split="train"
    )
    heavy = evaluation.kernel_ridge_accuracy(images, digits, ridge=1e3, split="train")
    deep = evaluation.kernel_ridge_accuracy(
        images, digits, kernel=ntk.fully_connected_kernel(depth=5), split="train"
    )
    assert shallow == same
    assert len({shallow, heavy, deep}) == 3


def test_the_labels_that_are_solved_for_are_better_than_hard_ones(digits, images):
    kernel, x = ntk.fully_connected_kernel(), images.x
    real = dj.data.normalize(digits.spec.normalizer, digits.train.x)
    y = dj.inner.ridge.solve_labels(
        kernel(x, x)[None],
        kernel(real, x)[None],
        jax.nn.one_hot(digits.train.y, 10) - 0.1,
        ridge=1e-6,
    )
    hard, solved = (
        evaluation.kernel_ridge_accuracy(
            dj.Synthetic(x, labels), digits, split="validation"
        )
        for labels in (images.y, y)
    )
    assert solved > hard + 0.02


def test_an_output_that_is_not_finite_is_not_right_by_luck(digits, images):
    def torn(x, other):  # Finite among the images, and nowhere else.
        products = linear(x, other)
        return products if len(x) == len(images.x) else jnp.nan * products

    judge = lambda kernel: evaluation.kernel_ridge_accuracy(
        images, digits, kernel=kernel, ridge=0.1, split="validation"
    )
    assert judge(torn) == 0 < judge(linear)


def test_what_cannot_work_is_refused_in_a_sentence(digits, images):
    with pytest.raises(errors.InputError, match='no split "tset"'):
        evaluation.kernel_ridge_accuracy(images, digits, split="tset")
    with pytest.raises(errors.InputError, match="use the data set it was made from"):
        evaluation.kernel_ridge_accuracy(images._replace(x=jnp.ones((20, 3))), digits)
    with pytest.raises(errors.InputError, match="`chunk_size` must be a whole number"):
        evaluation.kernel_ridge_accuracy(images, digits, chunk_size=0)
    same = images._replace(x=jnp.ones_like(images.x))
    with pytest.raises(errors.InputError, match="larger `ridge`"):
        evaluation.kernel_ridge_accuracy(same, digits, ridge=0.0)
