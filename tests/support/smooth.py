# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every objective on a smooth network, with a batch whose real side has weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import distill_jax as dj
from distill_jax import base, objectives, transforms
from distill_jax.augmentation import policies
from distill_jax.inner import optimizers, solvers

C, B, SHAPE = 2, 3, (3, 3, 1)  # classes, real examples of each, of one example
KEY = jax.random.key(0)


def smooth_task(targets="probabilities"):
    """A perceptron without kinks, with features."""

    def init(key, shape):
        first, last = jax.random.split(key)
        return {
            "a": jax.random.normal(first, (9, 4), float) / 2,
            "b": jax.random.normal(last, (4, C), float),
        }

    hidden = lambda params, x: jnp.tanh(x.reshape(len(x), -1) @ params["a"])
    net = dj.nets.from_functions(
        init,
        lambda params, x: hidden(params, x) @ params["b"],
        lambda params, x: {"penultimate": hidden(params, x), "block0": x},
    )
    spec = dj.data.DataSpec.of(SHAPE, C)
    return dj.tasks.classification(net, spec).retarget(targets)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def uniform_batch(weight):
    y = jnp.repeat(jnp.eye(C), B, axis=0)
    return base.Examples(normal(1, C * B, *SHAPE), y, weight)


def class_batch(weight):
    fold = lambda leaf: leaf.reshape(C, B, *leaf.shape[1:])
    return jax.tree.map(fold, uniform_batch(weight))


def segment(weight):
    """Two experts whose ways are as long as the first two weights say."""
    task = smooth_task()
    start, goal = (
        jax.vmap(lambda key: task.init(key, None).params)(jax.random.split(key))
        for key in jax.random.split(KEY)
    )
    along = lambda a, b: a + weight[:2].reshape(-1, *(1,) * (a.ndim - 1)) * (b - a)
    return base.Segment(start, jax.tree.map(along, start, goal))


def implicit(curvature="gauss_newton", **options):
    return objectives.implicit_bilevel(
        smooth_task(),
        curvature=curvature,
        num_networks=1,
        num_steps=20,
        weight_decay=0.1,
        solver_options=solvers.SolverOptions(damping=0.1, **options),
    )


def kernel(**options):
    return objectives.kernel_regression(
        smooth_task(), num_networks=1, ridge=0.1, **options
    )


def unrolled(**options):
    return objectives.unrolled_training(smooth_task(), num_steps=3, **options)


def students(**options):
    return objectives.trajectory_matching(smooth_task(), num_steps=2, **options)


def alone(objective):
    return objectives.in_stages([(objective, 1), (objective, 1)])


OBJECTIVES = {
    "gradient": lambda: (objectives.gradient_matching(smooth_task()), class_batch),
    "gradient, together": lambda: (
        objectives.gradient_matching(
            smooth_task(), distance="whole_cosine", is_collective=True
        ),
        class_batch,
    ),
    "distribution": lambda: (
        objectives.distribution_matching(smooth_task()),
        class_batch,
    ),
    "alignment": lambda: (objectives.feature_alignment(smooth_task()), class_batch),
    "augmented": lambda: (
        transforms.siamese(
            objectives.distribution_matching(smooth_task()),
            policies.dsa_policy("color"),
        ),
        class_batch,
    ),
    "kernel": lambda: (kernel(), uniform_batch),
    "kernel, implicit": lambda: (kernel(num_implicit=4), uniform_batch),
    "inducing": lambda: (
        objectives.kernel_inducing_points(ridge=0.1),
        uniform_batch,
    ),
    "implicit": lambda: (implicit(clip_ratio=0.5), uniform_batch),
    "implicit, hessian": lambda: (
        implicit("hessian", num_iterations=60),
        uniform_batch,
    ),
    "implicit, series": lambda: (
        implicit(solver="neumann", num_iterations=400, step_size=0.3, clip_norm=0.01),
        uniform_batch,
    ),
    "unrolled": lambda: (unrolled(optimizer=optax.sgd(0.5)), uniform_batch),
    "unrolled, window": lambda: (
        unrolled(windows="random", window=2, optimizer=optimizers.adam(0.1)),
        uniform_batch,
    ),
    "stages": lambda: (alone(unrolled(optimizer=optax.sgd(0.5))), uniform_batch),
    "trajectory": lambda: (students(), segment),
    "trajectory, tesla": lambda: (students(estimator="tesla"), segment),
    "trajectory, assigned": lambda: (
        students(assigns_labels=True),
        segment,
    ),
}


def synthetic_of(name):
    """Two examples of each class; centred labels where the objective has those."""
    is_kernel = name.startswith(("kernel", "inducing"))
    y = jnp.repeat(jnp.eye(C), 2, axis=0)
    return base.Synthetic(
        normal(2, 2 * C, *SHAPE),
        0.5 * (y - 0.5) if is_kernel else y,
        learning_rate=jnp.asarray(0.5),
        temperature=jnp.asarray(3.0) if name == "kernel, implicit" else None,
    )
