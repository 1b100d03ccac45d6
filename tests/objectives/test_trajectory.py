# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trajectory matching against the original implementations and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import test_util

import distill_jax as dj
from distill_jax import base, errors, objectives
from distill_jax.inner import unroll
from distill_jax.training import minibatches

KEY = jax.random.key(0)


class Problem:
    """A stored problem: a network, where it starts and aims, and the examples."""

    def __init__(self, arrays, dtype=jnp.float64):
        num_classes = int(arrays["num_classes"])
        spec = dj.data.DataSpec(
            name="golden",
            shape=arrays["images"].shape[1:],
            num_classes=num_classes,
            class_names=tuple(map(str, range(num_classes))),
            normalizer=None,
            fingerprint="",
        )
        net = dj.nets.convnet(
            num_classes, width=int(arrays["width"]), depth=int(arrays["depth"])
        )
        self.task = dj.tasks.classification(net, spec)
        put = lambda leaf: jnp.asarray(leaf, dtype)
        load = lambda prefix: jax.tree.map(
            put,
            dj.nets.load_flat(
                {k: v for k, v in arrays.items() if k.startswith(prefix)}, prefix=prefix
            ),
        )
        stack = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)
        self.start = load("start/")
        self.segment = base.Segment(stack(self.start), stack(load("target/")))
        self.x, self.rate = put(arrays["images"]), put(arrays["syn_lr"])
        self.logits = put(arrays["label_logits"])
        self.y = jnp.eye(num_classes, dtype=dtype)[arrays["labels"]]

    def derivatives(self, num_steps, estimator, has_logits):
        """The loss, and its gradients in images, labels and learning rate."""
        objective = objectives.trajectory_matching(
            self.task, num_steps=num_steps, estimator=estimator
        )

        def loss(x, label, rate):
            y = jax.nn.softmax(label) if has_logits else label
            synthetic = base.Synthetic(x, y, learning_rate=rate)
            return objective.loss(synthetic, KEY, {}, self.segment)[0]

        label = self.logits if has_logits else self.y
        fn = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
        return fn(self.x, label, self.rate)


FORMS = {
    "mtt": ("exact", False),
    "tesla": ("tesla", False),
    "datm": ("exact", True),
    "datm_tesla": ("tesla", True),
}
CASES = [
    *[("16x16x3", form, 5) for form in FORMS],
    ("16x16x3", "mtt", 2),
    ("16x16x3", "datm_tesla", 1),
    ("28x28x1", "mtt", 5),
]


@pytest.mark.parametrize(("name", "form", "num_steps"), CASES)
def test_loss_and_gradients_equal_the_original(
    name, form, num_steps, golden, assert_near, x64
):
    arrays = golden(f"trajectory_{name}")
    value, grads = Problem(arrays).derivatives(num_steps, *FORMS[form])
    image_grad = "image_grad_corrected" if form == "tesla" else "image_grad"
    assert_near(value, arrays[f"{form}/value_n{num_steps}"], 1e-9)
    assert_near(grads[0], arrays[f"{form}/{image_grad}_n{num_steps}"], 1e-9)
    assert_near(grads[2], arrays[f"{form}/lr_grad_n{num_steps}"], 1e-9)
    if FORMS[form][1]:
        assert_near(grads[1], arrays[f"{form}/label_grad_n{num_steps}"], 1e-9)


@pytest.mark.parametrize("form", ["mtt", "datm_tesla"])
def test_loss_and_gradients_equal_the_original_in_float32(form, golden, assert_near):
    arrays = golden("trajectory_28x28x1")
    problem = Problem(arrays, jnp.float32)
    value, grads = problem.derivatives(2, *FORMS[form])
    image_grad = "image_grad_corrected" if form == "tesla" else "image_grad"
    assert_near(value, arrays[f"{form}/value_n2"], 1e-4)
    assert_near(grads[0], arrays[f"{form}/{image_grad}_n2"], 1e-4)
    assert_near(grads[2], arrays[f"{form}/lr_grad_n2"], 1e-4)


@pytest.mark.parametrize("form", ["mtt", "datm_tesla"])
def test_mini_batches_and_the_last_student_equal_the_original(
    form, golden, assert_near, x64, monkeypatch
):
    arrays = golden("trajectory_minibatch_16x16x3")
    rows = jnp.asarray(arrays["batch_indices_n4"])
    batches = rows, jnp.ones(rows.shape)
    draw_batches = lambda *args, **kwargs: batches
    monkeypatch.setattr(minibatches, "consecutive_batches", draw_batches)
    problem = Problem(arrays)
    value, grads = problem.derivatives(4, *FORMS[form])
    image_grad = "image_grad_corrected" if form == "tesla" else "image_grad"
    assert_near(value, arrays[f"{form}/value_n4"], 1e-9)
    assert_near(grads[0], arrays[f"{form}/{image_grad}_n4"], 1e-9)
    if form == "mtt":
        synthetic = base.Synthetic(problem.x, problem.y)
        end, _ = jax.jit(
            lambda start: unroll.train_student(
                KEY,
                base.Variables(start, {}),
                problem.task,
                synthetic,
                num_steps=4,
                optimizer=optax.sgd(problem.rate),
                feed=unroll.Feed(batches),
            )
        )(problem.start)
        final = dj.nets.load_flat(
            {k: v for k, v in arrays.items() if k.startswith("mtt/final_n4/")},
            prefix="mtt/final_n4/",
        )
        jax.tree.map(
            lambda one, other: assert_near(one, other, 1e-9), end.params, final
        )


def toy(num_features=3, num_classes=2, num_examples=4, seed=0):
    """A linear classifier with random examples, starts and targets (two experts)."""
    rng = np.random.default_rng(seed)
    net = dj.nets.from_functions(
        lambda key, shape: {"w": jax.random.normal(key, (num_features, num_classes))},
        lambda p, x: x @ p["w"],
    )
    names = tuple(map(str, range(num_classes)))
    spec = dj.data.DataSpec("toy", (num_features,), num_classes, names, None, "")
    task = dj.tasks.classification(net, spec)
    shape = (2, num_features, num_classes)
    segment = base.Segment(
        {"w": jnp.asarray(rng.normal(size=shape))},
        {"w": jnp.asarray(rng.normal(size=shape))},
    )
    x = jnp.asarray(rng.normal(size=(num_examples, num_features)))
    y = jnp.repeat(jnp.eye(num_classes), num_examples // num_classes, axis=0)
    return task, base.Synthetic(x, y, learning_rate=jnp.array(0.3)), segment


def softmax_steps(w, x, y, rate, num_steps):
    """Gradient descent on the mean cross-entropy, in numpy."""
    for _ in range(num_steps):
        z = x @ w
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        w = w - rate * x.T @ (p - y) / len(x)
    return w


def test_the_loss_is_the_mean_over_experts_by_hand(assert_near, x64):
    task, synthetic, segment = toy()
    objective = objectives.trajectory_matching(task, num_steps=3)
    found, aux = objective.loss(synthetic, KEY, {}, segment)
    expected, ways = [], []
    for start, target in zip(segment.start["w"], segment.target["w"], strict=True):
        end = softmax_steps(
            np.asarray(start), np.asarray(synthetic.x), np.asarray(synthetic.y), 0.3, 3
        )
        ways.append(np.sum((start - target) ** 2))
        expected.append(np.sum((end - target) ** 2) / ways[-1])
    assert_near(found, np.mean(expected), 1e-12)
    assert_near(aux.metrics["expert_distance"], np.sqrt(ways).mean(), 1e-12)


def test_gradients_equal_finite_differences(x64):
    task, synthetic, segment = toy()
    objective = objectives.trajectory_matching(task, num_steps=4, batch_size=2)

    def loss(x, y, rate):
        examples = base.Synthetic(x, jax.nn.softmax(y), learning_rate=rate)
        return objective.loss(examples, KEY, {}, segment)[0]

    test_util.check_grads(
        loss, (synthetic.x, synthetic.y, synthetic.learning_rate), 1, ["rev"], rtol=1e-6
    )


def test_a_student_that_stands_still_has_loss_one(assert_near, x64):
    task, synthetic, segment = toy()
    objective = objectives.trajectory_matching(task, num_steps=0)
    assert_near(objective.loss(synthetic, KEY, {}, segment)[0], 1.0, 1e-12)


def test_an_experts_own_batches_lead_to_its_target(x64):
    task, synthetic, segment = toy()
    start = jax.tree.map(lambda leaf: leaf[:1], segment.start)
    end, _ = unroll.train_student(
        KEY,
        base.Variables({"w": start["w"][0]}, {}),
        task,
        synthetic,
        num_steps=7,
        optimizer=optax.sgd(synthetic.learning_rate),
    )
    target = jax.tree.map(lambda leaf: leaf[None], end.params)
    objective = objectives.trajectory_matching(task, num_steps=7)
    assert objective.loss(synthetic, KEY, {}, base.Segment(start, target))[0] < 1e-10


def _gradient_of_pictures(task, synthetic, segment, **options):
    objective = objectives.trajectory_matching(task, **options)

    def loss(x, rate):
        examples = synthetic._replace(x=x, learning_rate=rate)
        return objective.loss(examples, KEY, {}, segment)[0]

    fn = jax.jit(jax.value_and_grad(loss, (0, 1)))
    value, (x_grad, rate_grad) = fn(synthetic.x, synthetic.learning_rate)
    return value, x_grad, rate_grad


def test_tesla_equals_its_closed_form(assert_near, x64):
    task, synthetic, segment = toy()
    num_steps, rate = 5, 0.3
    value, x_grad, rate_grad = _gradient_of_pictures(
        task, synthetic, segment, num_steps=num_steps, estimator="tesla"
    )
    x_expected, rate_expected = np.zeros(synthetic.x.shape), 0.0
    for start, target in zip(segment.start["w"], segment.target["w"], strict=True):
        gradient = lambda w, x: jax.grad(
            lambda w: optax.softmax_cross_entropy(x @ w, synthetic.y).mean()
        )(w)
        thetas = [start]
        for _ in range(num_steps):
            thetas.append(thetas[-1] - rate * gradient(thetas[-1], synthetic.x))
        total = (start - thetas[-1]) / rate
        way = jnp.sum((start - target) ** 2)
        pull = rate * (target - start) + rate**2 * total
        for theta in thetas[:-1]:
            _, pullback = jax.vjp(lambda x, w=theta: gradient(w, x), synthetic.x)
            x_expected += np.asarray(pullback(pull)[0]) * 2 / way / 2
        rate_expected += -2 * jnp.sum(total * (thetas[-1] - target)) / way / 2
    assert_near(x_grad, x_expected, 1e-10)
    assert_near(rate_grad, rate_expected, 1e-10)
    exact = _gradient_of_pictures(task, synthetic, segment, num_steps=num_steps)
    assert_near(value, exact[0], 1e-12)
    assert float(jnp.abs(x_grad - exact[1]).max()) > 1e-4


def test_the_gap_of_tesla_vanishes_with_one_step_and_is_linear_in_the_rate(x64):
    task, synthetic, segment = toy()

    def gap(num_steps, rate):
        examples = synthetic._replace(learning_rate=jnp.array(rate))
        exact, tesla = (
            _gradient_of_pictures(
                task, examples, segment, num_steps=num_steps, estimator=estimator
            )[1]
            for estimator in ("exact", "tesla")
        )
        return float(jnp.linalg.norm(exact - tesla) / jnp.linalg.norm(exact))

    assert gap(1, 0.3) < 1e-10
    assert gap(2, 0.005) / gap(2, 0.01) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("estimator", ["exact", "tesla"])
def test_rematerialisation_changes_nothing(estimator, assert_near, x64):
    task, synthetic, segment = toy()
    for num_steps in (3, 7):  # Fewer than four, and not a square.
        results = [
            _gradient_of_pictures(
                task,
                synthetic,
                segment,
                num_steps=num_steps,
                estimator=estimator,
                remat=remat,
            )
            for remat in ("none", "step", "sqrt")
        ]
        for other in results[1:]:
            for one, two in zip(results[0], other, strict=True):
                assert_near(two, one, 1e-10)


def test_memory_hardly_grows_with_the_steps_of_the_student():
    spec = dj.data.DataSpec("random", (28, 28, 1), 2, ("0", "1"), None, "")
    task = dj.tasks.classification(dj.nets.convnet(2, width=8, depth=1), spec)
    params = task.init(KEY, task.sample_context(KEY)).params
    segment = base.Segment(*2 * [jax.tree.map(lambda leaf: leaf[None], params)])
    x, y = jnp.ones((40, 28, 28, 1)), jnp.eye(2)[jnp.arange(40) % 2]

    def num_bytes(num_steps, estimator, remat):
        objective = objectives.trajectory_matching(
            task, num_steps=num_steps, estimator=estimator, remat=remat
        )

        def loss(x, rate):
            few = base.Synthetic(x, y, learning_rate=rate)
            return objective.loss(few, KEY, {}, segment)[0]

        program = jax.jit(jax.grad(loss, (0, 1))).lower(x, jnp.float32(0.01))
        return program.compile().memory_analysis().temp_size_in_bytes

    few, many = (num_bytes(n, "exact", "step") for n in (4, 64))
    assert many < 2 * few
    assert many < 1.3 * num_bytes(64, "tesla", "step")
    assert num_bytes(64, "exact", "sqrt") < 1.1 * many
    assert num_bytes(64, "exact", "none") > 5 * many  # What is saved.


def test_the_probe_holds_the_gradients_of_every_step(assert_near, x64):
    task, synthetic, segment = toy()
    objective = objectives.trajectory_matching(
        task, num_steps=3, remat="sqrt", probes=["syn_grad"]
    )
    _, aux = objective.loss(synthetic, KEY, {}, segment)
    grads = aux.probes["syn_grad"]["w"]
    assert grads.shape == (2, 3, 3, 2)
    end = softmax_steps(
        *map(np.asarray, (segment.start["w"][1], synthetic.x, synthetic.y)), 0.3, 3
    )
    walked = segment.start["w"][1] - 0.3 * grads[1].sum(axis=0)
    assert_near(walked, end, 1e-12)


def test_assigned_labels_are_those_of_the_targets(assert_near, x64):
    task, synthetic, segment = toy()
    objective = objectives.trajectory_matching(task, num_steps=2, assigns_labels=True)
    z = np.einsum("nf,efc->enc", synthetic.x, segment.target["w"])
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    labels = p.mean(0)
    by_hand = objectives.trajectory_matching(task, num_steps=2)
    loss, _ = objective.loss(synthetic, KEY, {}, segment)
    assert_near(
        loss,
        by_hand.loss(synthetic._replace(y=jnp.asarray(labels)), KEY, {}, segment)[0],
        1e-12,
    )
    inner = objective.init(KEY, synthetic)
    assert_near(objective.read(synthetic, inner).y, synthetic.y, 0.0)
    inner = objective.advance(KEY, inner, synthetic, segment)
    assert_near(objective.read(synthetic, inner).y, labels, 1e-12)


def test_chunks_come_from_the_end_of_permutations():
    rows, weight = minibatches.consecutive_batches(
        KEY, num_examples=5, batch_size=2, num_steps=6
    )
    assert weight.sum(1).tolist() == [1, 2, 2, 1, 2, 2]
    for part in (slice(0, 3), slice(3, 6)):
        seen = np.asarray(rows[part])[np.asarray(weight[part]) > 0]
        assert sorted(seen.tolist()) == [0, 1, 2, 3, 4]
    assert (
        minibatches.consecutive_batches(KEY, num_examples=5, batch_size=5, num_steps=6)
        is None
    )


def test_errors_say_what_to_use():
    task, synthetic, segment = toy()
    with pytest.raises(errors.InputError, match="0 or more"):
        objectives.trajectory_matching(task, num_steps=-1)
    with pytest.raises(errors.InputError, match="at least 1"):
        objectives.trajectory_matching(task, num_steps=1, batch_size=0)
    with pytest.raises(errors.InputError, match='no estimator "tesIa"'):
        objectives.trajectory_matching(task, num_steps=1, estimator="tesIa")
    with pytest.raises(errors.InputError, match="rematerialisation"):
        objectives.trajectory_matching(task, num_steps=1, remat="all")
    with pytest.raises(errors.InputError, match="retarget"):
        objectives.trajectory_matching(
            task.retarget("centred"), num_steps=1, assigns_labels=True
        )
    objective = objectives.trajectory_matching(task, num_steps=1)
    with pytest.raises(errors.InputError, match="learn_rate"):
        objective.loss(synthetic._replace(learning_rate=None), KEY, {}, segment)


def test_a_student_sees_the_batches_that_it_is_told(x64):
    """Two steps on rows that are chosen, by hand."""
    rows, weight = jnp.array([[0, 1], [2, 0]]), jnp.array([[1.0, 1.0], [1.0, 0.0]])
    spec = dj.data.DataSpec.of((3,), 2)
    net = dj.nets.from_functions(
        lambda key, shape: {"w": jnp.zeros((3, 2))}, lambda p, x: x @ p["w"]
    )
    objective = objectives.trajectory_matching(
        dj.tasks.classification(net, spec),
        num_steps=2,
        batches=lambda key: (rows, weight),
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), np.eye(2)[[0, 0, 1, 1]]
    start, target = (rng.normal(size=(3, 2)) for _ in range(2))
    w = start
    for chosen in ([0, 1], [2]):
        p = np.exp(x[chosen] @ w)
        p /= p.sum(1, keepdims=True)
        w = w - 0.3 * x[chosen].T @ (p - y[chosen]) / len(chosen)
    expected = np.sum((w - target) ** 2) / np.sum((start - target) ** 2)
    segment = base.Segment(
        *({"w": jnp.asarray(each)[None]} for each in (start, target))
    )
    synthetic = base.Synthetic(
        jnp.asarray(x), jnp.asarray(y), learning_rate=jnp.asarray(0.3)
    )
    found, _ = objective.loss(synthetic, jax.random.key(0), {}, segment)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_batches_and_their_size_are_not_both_taken():
    spec = dj.data.DataSpec.of((3,), 2)
    task = dj.tasks.classification(dj.nets.mlp(2, hidden=(2,)), spec)
    with pytest.raises(errors.InputError, match="so does `batch_size`, 2; give one"):
        objectives.trajectory_matching(
            task, num_steps=2, batch_size=2, batches=lambda key: None
        )
