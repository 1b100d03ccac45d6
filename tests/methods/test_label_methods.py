# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels that are learned alone: their gradients, their optimum, their start.

T19 to T22 are the tests that the specification of soft labels asks for by these names.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, errors, methods, objectives, transforms
from distill_jax.inner import ridge as ridges
from distill_jax.inner import unroll

KEY = jax.random.key(3)
HARD = jnp.repeat(jnp.eye(2), 3, axis=0)


def spec(num_classes=2, num_inputs=3):
    return dj.data.DataSpec(
        name="toy",
        shape=(num_inputs,),
        num_classes=num_classes,
        class_names=tuple("abcdefghij"[:num_classes]),
        normalizer=None,
        fingerprint="",
    )


def linear_task(num_classes=2, num_inputs=3):
    net = dj.nets.mlp(num_classes, hidden=())
    return dj.tasks.classification(net, spec(num_classes, num_inputs))


def examples(seed, number, num_classes=2, num_inputs=3):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(number, num_inputs)))
    classes = np.arange(number) * num_classes // number
    return base.Examples(x, jnp.asarray(np.eye(num_classes)[classes]))


def learned(kind, **options):
    decoder = transforms.learn_labels(dj.plain_decoder(), kind=kind, **options)
    return transforms.fix_inputs(decoder)


KINDS = {
    "probabilities": {},
    "normalised": {"kind": "probabilities", "is_normalized": True},
    "logits": {"smoothing": 0.3},
    "logarithms": {"kind": "logits", "smoothing": 0.3, "is_normalized": False},
    "simplex": {},
}


def decoder_of(name):
    return learned(**{"kind": name, **KINDS[name]})


def loss_of(objective, decoder, latent, real, inner=None):
    """The loss as a function of what is learned."""
    inner = objective.init(KEY, decoder.decode(latent)) if inner is None else inner

    def loss(leaves):
        synthetic = decoder.decode(latent._replace(learned=leaves))
        return objective.loss(synthetic, KEY, inner, real)[0]

    return loss


@pytest.mark.parametrize("name", KINDS)
def test_t19_the_meta_gradient_equals_central_differences(name, x64):
    task, real, initial = linear_task(), examples(1, 40), examples(0, 6)
    decoder = decoder_of(name)
    latent = decoder.init(KEY, initial._replace(y=0.7 * initial.y + 0.15))
    assert list(latent.learned) != ["x"]
    objective = objectives.unrolled_training(
        task, num_steps=4, optimizer=optax.sgd(0.3, momentum=0.9), remat="none"
    )
    both = jax.jit(jax.value_and_grad(loss_of(objective, decoder, latent, real)))
    ((leaf_name, leaf),) = latent.learned.items()
    grads = both(latent.learned)[1][leaf_name]
    differences = np.zeros(leaf.shape)
    for place in np.ndindex(leaf.shape):
        at = lambda h, place=place: both({leaf_name: leaf.at[place].add(h)})[0]
        differences[place] = (at(1e-5) - at(-1e-5)) / 2e-5
    assert np.abs(differences).max() > 1e-4
    error = np.abs(grads - differences).max() / np.abs(differences).max()
    assert error < 1e-4


def test_t19_a_truncated_gradient_is_that_of_a_run_from_the_state_at_its_start(x64):
    task, real, initial = linear_task(), examples(1, 40), examples(0, 6)
    decoder, sgd = decoder_of("probabilities"), optax.sgd(0.3)
    latent = decoder.init(KEY, initial)
    make = functools.partial(
        objectives.unrolled_training, task, optimizer=sgd, remat="none"
    )

    def gradient(objective, variables):
        inner = objective.at(base.Learner(variables))
        loss = loss_of(objective, decoder, latent, real, inner)
        return jax.jit(jax.grad(loss))(latent.learned)["y"]

    start = task.init(jax.random.key(8), None)
    truncated = gradient(make(num_steps=5, window=3), start)
    led, _ = unroll.lead_student(
        KEY, start, task, decoder.decode(latent), num_steps=2, optimizer=sgd
    )
    from_there = gradient(make(num_steps=3), led)
    np.testing.assert_allclose(truncated, from_there, rtol=1e-9)
    whole = gradient(make(num_steps=5), start)
    assert np.abs(truncated - whole).max() > 1e-3 * np.abs(whole).max()


@pytest.mark.parametrize("window", [0, -1])
def test_t19_a_window_of_no_steps_is_refused(window):
    with pytest.raises(errors.InputError, match="`window` must be a whole number, at"):
        methods.label_bptt(
            linear_task(),
            num_per_class=1,
            num_inner_steps=3,
            window=window,
            learning_rate=0.1,
        )


def descended(method, state, batch, num_steps):
    def step(state, key):
        state, info = method.step(key, state, batch)
        return state, info.loss

    keys = jax.random.split(KEY, num_steps)
    return jax.jit(lambda state: jax.lax.scan(step, state, keys))(state)


def test_t20_labels_of_a_ridge_regression_reach_their_closed_form(x64):
    """The squared error of the ridge prediction: its best labels solve equations."""
    x, x_real = examples(0, 3, num_inputs=4).x, examples(1, 30, num_inputs=4).x
    y_real = jnp.asarray(np.random.default_rng(2).normal(size=(30, 2)))
    predict = functools.partial(ridges.predict, x, x_real, ridge=0.1)
    method = dj.distill(
        base.Objective(
            lambda *a: {},
            lambda synthetic, key, inner, batch: (
                jnp.mean((predict(synthetic.y) - batch.y) ** 2),
                base.Aux(),
            ),
            lambda key, inner, synthetic, batch: inner,
        ),
        decoder=learned("values"),
        optimizer=optax.adam(optax.exponential_decay(0.05, 100, 0.9)),
    )
    state = method.init(KEY, base.Examples(x, jnp.zeros((3, 2))))
    state, losses = descended(method, state, base.Examples(x_real, y_real), 6000)
    kernels = (x @ x.T)[None], (x_real @ x.T)[None]
    best = ridges.solve_labels(*kernels, y_real, ridge=0.1, label_ridge=0.0)
    assert losses[0] > 1.01 * losses[-1]
    np.testing.assert_allclose(method.read(state).y, best, atol=1e-4)


def test_t20_labels_of_a_ridge_head_reach_the_optimum_of_its_cross_entropy(x64):
    """Where the head fits all it sees, the best labels are those that are asked for."""
    wanted = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    x = examples(0, 3, num_classes=3).x
    objective = objectives.ridge_classification(
        linear_task(3), num_networks=1, ridge=1e-9
    )
    decoder = transforms.learn_temperature(learned("simplex"), 4.0)
    y_rule = optax.chain(
        optax.adam(optax.exponential_decay(0.02, 100, 0.7)),
        transforms.keep_on_simplex(),
    )
    method = dj.distill(
        objective,
        decoder=decoder,
        optimizer={"y": y_rule, "log_temperature": optax.set_to_zero()},
    )
    uniform = base.Examples(x, jnp.full((3, 3), 1 / 3), group=jnp.arange(3))
    real = base.Examples(x, jax.nn.softmax(4.0 * wanted))
    state, losses = descended(method, method.init(KEY, uniform), real, 1500)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(method.read(state).y, wanted, atol=1e-4)


@pytest.fixture(scope="module")
def match():
    """The loss of label MTT at a rate: of an expert that sees all, on what it sees.

    It takes a step in an epoch, and so does the student, from hard labels.
    """
    rng = np.random.default_rng(0)
    classes = np.arange(30) // 10
    x = rng.normal(size=(30, 5)).astype(np.float32) + classes[:, None]
    held_out = x[::3], classes[::3]
    data = dj.data.from_arrays(x, classes, *held_out, validation=held_out)
    recipe = methods.label_mtt(
        dj.tasks.classification(dj.nets.mlp(3, hidden=(6,)), data.spec),
        num_per_class=10,
        index=range(30),
        num_student_steps=3,
        num_expert_epochs=3,
        last_start=2,
        rate_learning_rate=1e-5,
        initial_rate=0.2,
        augmentation="none",
        experts={"num_experts": 2, "batch_size": 30, "learning_rate": 0.2},
    )
    state = recipe.method.init(KEY, recipe.initial_fn(KEY, data))
    batch = recipe.sampler(KEY, 0, recipe.source_fn(data))
    step = jax.jit(recipe.method.step)

    def loss(rate):
        log_rate = {"log_learning_rate": jnp.log(jnp.asarray(rate))}
        latent = state.latent._replace(learned=state.latent.learned | log_rate)
        return float(step(KEY, state._replace(latent=latent), batch)[1].loss)

    return loss


def test_t21_the_loss_is_one_where_the_student_does_not_move(match):
    assert match(1e-20) == 1.0


def test_t21_the_loss_is_zero_where_the_student_repeats_the_expert(match):
    assert match(0.2) < 1e-9
    assert match(0.1) > 1e-2


@pytest.mark.parametrize("name", KINDS)
def test_t22_labels_start_as_they_are(name):
    y = jnp.array([[0.6, 0.4], [0.2, 0.8], [0.0, 1.0]])
    decoder = decoder_of(name)
    latent = decoder.init(KEY, base.Examples(jnp.zeros((3, 1)), y))
    smoothing = KINDS[name].get("smoothing", 0.0)
    expected = (1 - smoothing) * y + smoothing / 2
    np.testing.assert_allclose(decoder.decode(latent).y, expected, rtol=1e-6)


def test_t22_free_labels_keep_the_mass_that_they_have():
    free = base.Examples(jnp.zeros((2, 1)), jnp.array([[2.0, 1.0], [0.0, 0.5]]))
    decoder = decoder_of("probabilities")
    np.testing.assert_array_equal(decoder.decode(decoder.init(KEY, free)).y, free.y)
    decoder = decoder_of("normalised")
    rows = decoder.decode(decoder.init(KEY, free)).y
    np.testing.assert_allclose(rows, [[2 / 3, 1 / 3], [0.0, 1.0]], rtol=1e-6)


@pytest.mark.parametrize("kind", ["simplex", "probabilities"])
def test_t22_labels_stay_where_they_belong_after_every_update(kind):
    task = dj.tasks.classification(dj.nets.mlp(3, hidden=()), spec(3))
    shared = methods.ingredients.Shared(task, 2)
    learning = methods.label_recipes.Learning(kind, None, 0.5, 1.0)
    _, optimizer = methods.label_recipes.learned(shared, learning)
    rule = optimizer["y"]
    y = jnp.repeat(jnp.eye(3), 2, axis=0)
    opt, update = rule.init(y), jax.jit(rule.update)
    for number in range(20):
        grads = jax.random.normal(jax.random.fold_in(KEY, number), y.shape)
        updates, opt = update(grads, opt, y)
        y = optax.apply_updates(y, updates)
        assert float(y.min()) >= 0
        if kind == "simplex":
            np.testing.assert_allclose(y.sum(1), 1.0, rtol=1e-6)
    if kind == "probabilities":
        assert float(jnp.abs(y.sum(1) - 1).max()) > 0.1


def test_a_row_of_which_nothing_is_left_becomes_uniform():
    keep, y = transforms.keep_on_simplex(), jnp.array([[1.0, 0.0], [0.5, 0.5]])
    updates, _ = keep.update(jnp.array([[-2.0, -1.0], [5.0, 0.0]]), keep.init(y), y)
    np.testing.assert_allclose(y + updates, [[0.5, 0.5], [2 / 3, 1 / 3]], rtol=1e-6)
    with pytest.raises(errors.InputError, match="needs the parameters"):
        keep.update(updates, keep.init(y))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "simplex", "is_normalized": False}, "have the mass that they have"),
        ({"kind": "logits", "smoothing": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"kind": "logits", "smoothing": 1.5}, "above 0 and at most 1, got 1.5"),
        ({"kind": "simplex", "smoothing": 0.5}, '"simplex" start as they are'),
        ({"kind": "simplx"}, 'Did you mean "simplex"'),
    ],
)
def test_parametrisations_that_there_are_not_are_refused(options, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        learned(**options)


def digits_task():
    digits = dj.data.load("digits")
    return digits, dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)


SMALL = {
    "num_per_class": 1,
    "num_inner_steps": 6,
    "window": 2,
    "learning_rate": 0.05,
    "batch_size": 32,
}


def test_images_stay_and_windows_move_forward_in_a_run():
    digits, task = digits_task()
    recipe = methods.label_bptt(task, **SMALL, windows="forward", num_steps=6)
    scanned = dj.runtime.scan_steps(recipe.method, recipe.sampler, num_steps=8)
    initial = recipe.initial_fn(KEY, digits)
    before = recipe.method.init(KEY, initial)
    state, infos = scanned(KEY, before, recipe.source_fn(digits))
    found = recipe.method.read(state)
    np.testing.assert_array_equal(found.x, initial.x)
    assert float(jnp.abs(found.y - initial.y).max()) > 0.01
    assert infos.metrics["window_start"].tolist() == [0, 0, 2, 2, 4, 4, 4, 4]
    with pytest.raises(errors.InputError, match="pass `num_steps`, the length"):
        methods.label_bptt(task, **SMALL, windows="forward")
    with pytest.raises(errors.InputError, match=r"pass `objectives\.Forward"):
        objectives.unrolled_training(task, num_steps=3, windows="forward")


def test_draws_are_learned_each_for_itself():
    digits, task = digits_task()
    index = dj.selection.random_subsets(KEY, digits, 1, num_draws=2)
    options = {"num_per_class": 1, "batch_size": 32, "learning_rate": 0.01}
    recipes = [methods.label_ridge(task, **options, index=rows) for rows in index]
    two = methods.learn_draws(KEY, recipes, digits, num_steps=4)
    one = methods.learn_draws(KEY, recipes[:1], digits, num_steps=4)
    for name in ("x", "y", "loss"):
        np.testing.assert_array_equal(getattr(one, name)[0], getattr(two, name)[0])
    raw = digits.train.x[index]
    np.testing.assert_allclose(two.x, dj.data.normalize(digits.spec.normalizer, raw))
    assert np.abs(two.y[0] - two.y[1]).max() > 1e-4
    assert two.loss.shape == (2, 4)
    assert two.learning_rate is None
    with pytest.raises(errors.InputError, match="`num_recipes`"):
        methods.learn_draws(KEY, [], digits, num_steps=4)


@pytest.mark.parametrize(("total", "window"), [(6, 2), (7, 3), (5, 5), (9, 4)])
def test_forward_windows_begin_at_the_start_and_end_at_the_end(total, window):
    forward = objectives.Forward(30)
    at = lambda k: int(
        objectives.windows.window_start(forward, total, window, KEY, {"step": k})
    )
    starts = [at(k) for k in range(40)]
    assert starts[0] == 0
    assert starts[29:] == [total - window] * 11
    assert np.diff(starts).min() >= 0
    assert np.diff(starts).max() <= window


def test_labels_start_as_those_of_an_ensemble_of_experts():
    digits, task = digits_task()
    plan = dj.experts.ExpertPlan(num_experts=2, num_epochs=3, learning_rate=0.2)
    index = dj.selection.random_subsets(KEY, digits, 1, num_draws=2)[1]
    options = {**SMALL, "index": index, "label_start": "experts", "experts": plan}
    recipe = methods.label_bptt(task, **options, label_epoch=2)
    initial = recipe.initial_fn(jax.random.key(5), digits)
    buffer = dj.experts.make_buffer(plan, task, digits)
    logits = buffer.logits(
        task, digits.train.x[index], epochs=[2], normalizer=digits.spec.normalizer
    )
    np.testing.assert_allclose(initial.y, dj.labels.ensemble_logits(logits[:, 0]))
    np.testing.assert_array_equal(initial.group, digits.train.y[index])
    late = methods.label_bptt(task, **options, label_epoch=7)
    with pytest.raises(errors.InputError, match="Epoch 7 of the experts was not kept"):
        late.initial_fn(KEY, digits)


def test_saturated_logits_are_told_where_labels_start():
    digits, task = digits_task()
    make = lambda smoothing: methods.label_bptt(
        task, **SMALL, label_kind="logits", smoothing=smoothing
    )
    make(0.5).initial_fn(KEY, digits)
    with pytest.warns(UserWarning, match="start saturated: the largest class of a"):
        make(0.01).initial_fn(KEY, digits)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"label_kind": "values"}, 'There is no kind "values" of labels'),
        ({"label_start": "soft"}, 'Labels cannot start as "soft"'),
        ({"label_epoch": 3}, "`label_epoch` is 3, but labels start hard"),
        ({"experts": {"num_experts": 2}}, "`experts` is .* but labels start hard"),
        ({"windows": "forwards", "num_steps": 5}, 'Did you mean "forward"'),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
    ],
)
def test_options_that_cannot_work_are_refused(options, sentence):
    _, task = digits_task()
    with pytest.raises(errors.InputError, match=sentence):
        methods.label_bptt(task, **{**SMALL, **options})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda index: index[:5], r"shape \(5,\)"),
        (lambda index: index / 1.0, "the type float64"),
        (lambda index: index + 10_000, "but the training split has 960 examples"),
        (lambda index: index[::-1], "sort `index` by class"),
    ],
)
def test_positions_of_images_that_do_not_fit_are_refused(change, sentence):
    digits, task = digits_task()
    index = dj.selection.random_subsets(KEY, digits, 1, num_draws=1)[0]
    recipe = methods.label_bptt(task, **SMALL, index=change(index))
    with pytest.raises(errors.InputError, match=sentence):
        recipe.initial_fn(KEY, digits)


def test_images_of_one_key_are_nested():
    digits, task = digits_task()
    draws = [
        methods.label_bptt(task, **{**SMALL, "num_per_class": number})
        .initial_fn(KEY, digits)
        .x.reshape(10, number, -1)
        for number in (1, 3)
    ]
    np.testing.assert_array_equal(draws[0], draws[1][:, :1])


def test_published_settings_are_those_of_the_code_they_were_released_with():
    _, task = digits_task()
    named = task._replace(facts=dj.TaskFacts(data_name="cifar100", num_classes=10))
    recipe = methods.label_bptt(named, num_per_class=1)
    assert recipe.protocol.num_steps == 130
    with pytest.warns(UserWarning, match="taken from those for 10 of cifar100"):
        other = methods.label_bptt(task, num_per_class=8)
    assert other.protocol.num_steps == 300


@pytest.mark.parametrize(
    ("options", "mass"),
    [
        ({}, "free"),
        ({"is_normalized": True}, "one"),
        ({"label_kind": "logits"}, "one"),
        ({"label_kind": "logits", "is_normalized": False}, "free"),
        ({"label_kind": "simplex"}, "one"),
    ],
)
def test_the_protocol_says_what_the_mass_of_a_label_is(options, mass):
    _, task = digits_task()
    assert methods.label_bptt(task, **SMALL, **options).protocol.label_mass == mass
