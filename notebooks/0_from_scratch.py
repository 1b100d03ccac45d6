# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Dataset distillation from scratch
#
# A training set can be *distilled*: replaced by a few made-up examples on which a fresh
# network learns nearly what it would have learned from the whole. This notebook does it
# in about a hundred lines of plain JAX, without the library, on scikit-learn's 8 x 8
# digits. The idea is Wang, Zhu, Torralba and Efros's ("Dataset Distillation", 2018):
#
# > Training is a function from pictures to a network. It is differentiable. So ask how
# > wrong the trained network is on real data, and follow the gradient of *that* down to
# > the **pixels of the training pictures**.

# %%
# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import os
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn import datasets

RUNLOCAL = os.environ.get("RUNLOCAL", "0") == "1"  # Fewer steps, the same story.
NUM_STEPS = 200 if RUNLOCAL else 800  # outer steps, of the pictures
NUM_RUNS = 5 if RUNLOCAL else 20  # fresh networks in every evaluation
start = time.perf_counter()

# %% [markdown]
# ## The data
#
# 1797 grey pictures of digits, 1200 for training and the rest for testing. The test set
# is looked at in evaluations only.

# %%
x, y = datasets.load_digits(return_X_y=True)
x = x.astype(np.float32) / 16 - 0.3
order = np.random.default_rng(0).permutation(len(y))
x, y = jnp.array(x[order]), jnp.array(y[order])
x_train, y_train, x_test, y_test = x[:1200], y[:1200], x[1200:], y[1200:]
labels = jnp.eye(10)  # one picture of each digit, in order


def show(pictures, title):
    figure, axes = plt.subplots(1, 10, figsize=(10, 1.5))
    for axis, picture in zip(axes, pictures, strict=True):
        axis.imshow(picture.reshape(8, 8), cmap="gray", vmin=-0.3, vmax=0.7)
        axis.axis("off")
    figure.suptitle(title)
    plt.show()


# %% [markdown]
# ## A learner
#
# A network with one hidden layer, and how it is trained: twenty steps of gradient
# descent on ten pictures. `train` is one pure function from pictures to parameters. The
# hidden units are smooth (tanh): with ReLU the derivative of a step of training jumps,
# and the check of the gradient below would be a rough one.


# %%
def init(key, width=64):
    key_1, key_2 = jax.random.split(key)
    return {
        "w1": jax.random.normal(key_1, (64, width)) / 8,
        "b1": jnp.zeros(width),
        "w2": jax.random.normal(key_2, (width, 10)) / width**0.5,
        "b2": jnp.zeros(10),
    }


def logits(params, x):
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


def cross_entropy(params, x, y):
    return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(logits(params, x)), axis=-1))


def train(params, x, y, num_steps=20, learning_rate=0.3):
    def step(params, _):
        gradient = jax.grad(cross_entropy)(params, x, y)
        return jax.tree.map(lambda p, g: p - learning_rate * g, params, gradient), None

    return jax.lax.scan(step, params, None, length=num_steps)[0]


# %% [markdown]
# ## The outer loss
#
# Train fresh networks on the pictures, then ask how wrong they are on real data. The
# networks are fresh every time, so that the pictures suit networks in general and not
# one of them. `jax.grad` of this function goes back through all twenty steps of
# training.


# %%
def outer_loss(pictures, key, x_real, y_real, num_networks=4):
    def one(key):
        return cross_entropy(train(init(key), pictures, labels), x_real, y_real)

    return jnp.mean(jax.vmap(one)(jax.random.split(key, num_networks)))


pictures = jnp.stack([x_train[y_train == digit][0] for digit in range(10)])
gradient = jax.grad(outer_loss)(
    pictures, jax.random.key(0), x_train, jax.nn.one_hot(y_train, 10)
)
show(pictures, "Ten real pictures, the first of each digit")
show(gradient / jnp.abs(gradient).max() * 0.5 + 0.2, "Where their pixels should go")

# %% [markdown]
# That gradient is worth a check: move the pictures a little along it, and the loss must
# change by as much as the gradient is long.

# %%
direction = gradient / jnp.linalg.norm(gradient)
outer = jax.jit(
    lambda t: outer_loss(
        pictures + t * direction,
        jax.random.key(0),
        x_train,
        jax.nn.one_hot(y_train, 10),
    )
)
measured = (outer(0.002) - outer(-0.002)) / 0.004
print(f"measured {measured:.3f}, by the gradient {jnp.linalg.norm(gradient):.3f}")

# %% [markdown]
# ## Distil
#
# Adam on the pixels, written out. All steps are one `lax.scan`, hence one compiled
# program.


# %%
def distil(pictures, key, num_steps, learning_rate=0.01):
    def step(carry, key):
        pictures, mean, square, count = carry
        key_batch, key_networks = jax.random.split(key)
        rows = jax.random.choice(key_batch, len(y_train), (256,), replace=False)
        loss, gradient = jax.value_and_grad(outer_loss)(
            pictures, key_networks, x_train[rows], jax.nn.one_hot(y_train[rows], 10)
        )
        count = count + 1
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        update = (mean / (1 - 0.9**count)) / (
            jnp.sqrt(square / (1 - 0.99**count)) + 1e-8
        )
        return (pictures - learning_rate * update, mean, square, count), loss

    zero = jnp.zeros_like(pictures)
    carry = (pictures, zero, zero, jnp.zeros(()))
    carry, losses = jax.lax.scan(step, carry, jax.random.split(key, num_steps))
    return carry[0], losses


distilled, losses = jax.jit(distil, static_argnums=2)(
    pictures, jax.random.key(2), NUM_STEPS
)
show(distilled, "The ten distilled pictures")
plt.semilogy(losses)
plt.xlabel("outer step")
plt.ylabel("loss on real data after training")
plt.show()

# %% [markdown]
# They are no digits one would write, but traces of them: every pixel was moved to where
# it teaches most.
#
# ## What are they worth?
#
# Fresh networks are trained on ten pictures and tested on real ones. An average over
# random real pictures is the first thing to compare with; the mean picture of each
# class is a harder one, since averages are a kind of distillation too.


# %%
@jax.jit
def accuracies(pictures, key):
    def one(key):
        predicted = logits(train(init(key), pictures, labels), x_test).argmax(axis=-1)
        return jnp.mean(predicted == y_test)

    return jax.vmap(one)(jax.random.split(key, NUM_RUNS))


def random_pictures(seed):
    generator = np.random.default_rng(seed)
    rows = [generator.choice(np.flatnonzero(y_train == digit)) for digit in range(10)]
    return x_train[np.array(rows)]


key = jax.random.key(3)
class_means = jnp.stack([x_train[y_train == digit].mean(axis=0) for digit in range(10)])
results = {
    "random real pictures": np.concatenate(
        [accuracies(random_pictures(seed), key) for seed in range(5)]
    ),
    "means of the classes": np.asarray(accuracies(class_means, key)),
    "distilled pictures": np.asarray(accuracies(distilled, key)),
}
for name, values in results.items():
    print(f"{name:22} {100 * values.mean():5.1f} % +- {100 * values.std():.1f}")

plt.bar(list(results), [100 * values.mean() for values in results.values()])
plt.ylabel("test accuracy after 20 steps (%)")
plt.show()

# %% [markdown]
# ## And for another network?
#
# The pictures were made for one architecture and one way of training. A wider network
# that trains ten times as long is a fair question to them.


# %%
@jax.jit
def other_accuracies(pictures, key):
    def one(key):
        params = train(init(key, width=256), pictures, labels, num_steps=200)
        return jnp.mean(logits(params, x_test).argmax(axis=-1) == y_test)

    return jax.vmap(one)(jax.random.split(key, 5))


for name, ten in {
    "random real pictures": random_pictures(0),
    "means of the classes": class_means,
    "distilled pictures": distilled,
}.items():
    print(f"{name:22} {100 * other_accuracies(ten, key).mean():5.1f} %")

everything = jax.jit(train, static_argnums=3)(
    init(key, width=256), x_train, jax.nn.one_hot(y_train, 10), 200
)
best = jnp.mean(logits(everything, x_test).argmax(axis=-1) == y_test)
print(f"{'all 1200 pictures':22} {100 * best:5.1f} %")
print(f"The whole notebook took {time.perf_counter() - start:.0f} s.")

# %% [markdown]
# ## Where to go from here
#
# Everything in the literature is a variation of what stands above: *what* is compared
# with the real data (a trained network's error, gradients, features, whole
# trajectories of training), *how* the learner trains inside (unrolled, or solved in
# closed form), and *what* is learned besides pixels (labels, a learning rate). In
# `distill_jax` each of these is a value to be exchanged; the next notebook,
# `1_first_distillation`, begins with that.
