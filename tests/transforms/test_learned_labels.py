# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels and targets that are learned, and runs that begin with them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, errors, objectives, samplers, transforms

KEY = jax.random.key(0)
INITIAL = base.Examples(x=jnp.zeros((4, 3)), y=jnp.repeat(jnp.eye(2), 2, axis=0))


def learned(**options):
    return transforms.learn_labels(dj.plain_decoder(), **options)


@pytest.mark.parametrize("kind", ["logits", "probabilities", "centred", "values"])
def test_targets_are_learned_as_labels_are(kind):
    suffix = "_logits" if kind == "logits" else ""
    target = jnp.repeat(jnp.array([[0.25, 0.75], [0.5, 0.5]]), 2, axis=0)
    both = learned(kind=kind, fields=("y", "target"))
    latent = both.init(KEY, INITIAL._replace(target=target))
    assert sorted(latent.learned) == [f"target{suffix}", "x", f"y{suffix}"]
    assert latent.fixed == {}
    decoded = both.decode(latent)
    alone = learned(kind=kind)
    expected = alone.decode(alone.init(KEY, INITIAL._replace(y=target))).y
    np.testing.assert_array_equal(decoded.target, expected)
    expected = alone.decode(alone.init(KEY, INITIAL)).y
    np.testing.assert_array_equal(decoded.y, expected)


def test_a_target_that_the_initial_set_lacks_starts_as_its_label():
    decoder = learned(kind="probabilities", fields=["target"])
    latent = decoder.init(KEY, INITIAL)
    assert sorted(latent.fixed) == ["y"]
    np.testing.assert_array_equal(latent.learned["target"], INITIAL.y)
    both = learned(kind="values", fields=["y", "target"])
    y, target = (both.init(KEY, INITIAL).learned[name] for name in ("y", "target"))
    # A loop donates both.
    assert y.unsafe_buffer_pointer() != target.unsafe_buffer_pointer()


def test_a_label_and_a_target_are_learned_by_kinds_of_their_own():
    decoder = transforms.learn_labels(
        learned(kind="values"), kind="logits", fields=["target"]
    )
    latent = decoder.init(KEY, INITIAL)
    assert sorted(latent.learned) == ["target_logits", "x", "y"]
    assert decoder.decode(latent).target.shape == (4, 2)


def test_values_are_learned_as_they_stand():
    y = jnp.array([[3.5], [-2.0], [0.0], [1e4]])
    latent = learned(kind="values").init(KEY, INITIAL._replace(y=y))
    np.testing.assert_array_equal(latent.learned["y"], y)


@pytest.mark.parametrize(
    ("kind", "y", "sentence"),
    [
        ("logits", 2 * INITIAL.y, "initial `y` have sums from 2 to 2"),
        ("centred", INITIAL.y - 0.5, "initial `y` has a probability of -0.5"),
        ("probabilities", INITIAL.y - 0.5, "initial `y` has a probability of -0.5"),
        ("values", INITIAL.y * jnp.nan, "initial `y` holds numbers that are not"),
    ],
)
def test_labels_that_a_kind_cannot_start_from_are_refused(kind, y, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        learned(kind=kind).init(KEY, INITIAL._replace(y=y))


def test_initial_labels_are_finite_whatever_they_mean():
    method = dj.distill(
        base.Objective(lambda *a: {}, lambda *a: (0.0, base.Aux()), lambda *a: {}),
        decoder=dj.plain_decoder(),
        optimizer=optax.sgd(1.0),
    )
    for name in ("y", "target"):
        initial = INITIAL._replace(**{name: INITIAL.y.at[1].set(jnp.inf)})
        with pytest.raises(errors.InputError, match=f"The initial `{name}` holds"):
            method.init(KEY, initial)


def test_logits_and_free_masses_may_be_learned_further():
    logits = INITIAL._replace(y=INITIAL.y * 3 - 5)
    learned(kind="logits", scale=None).init(KEY, logits)
    learned(kind="probabilities").init(KEY, INITIAL._replace(y=3 * INITIAL.y))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ("y", r"`fields` is 'y'; pass a list"),
        ([], r"`fields` is \[\]; pass a list"),
        (["targets"], 'no label "targets" to learn. Did you mean "target"'),
    ],
)
def test_fields_that_cannot_be_learned_are_refused(fields, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        learned(kind="values", fields=fields)


def test_a_label_is_learned_once():
    twice = transforms.learn_labels(learned(kind="logits"), kind="values")
    with pytest.raises(errors.InputError, match="`y` is learned already"):
        twice.init(KEY, INITIAL)


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


def recipe_of(method, digits, **changes):
    fields = {
        "sampler": samplers.uniform(64),
        "initial_fn": dj.methods.initial_fn("real", 1),
        "source_fn": dj.data.to_source,
        "protocol": dj.evaluation.Protocol(num_steps=5, learning_rate=0.1),
    }
    return base.Recipe(method=method, **(fields | changes))


def test_a_target_is_learned_by_a_training_that_reads_it(digits, tmp_path):
    """Labels start right and targets as the label of the next class.

    The students learn from the targets alone, so these are learned, and the labels
    stay what they were.
    """
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), digits.spec)

    def train_loss(variables, key, data, context):
        y = data.y if data.target is None else data.target
        return task.train_loss(variables, key, data._replace(y=y), context)

    method = dj.distill(
        objectives.unrolled_training(
            task._replace(train_loss=train_loss),
            num_steps=6,
            optimizer=optax.sgd(0.5),
        ),
        decoder=learned(kind="logits", scale=3.0, fields=["target"]),
        optimizer={"x": optax.set_to_zero(), "target_logits": optax.adam(0.3)},
    )

    def initial_fn(key, data):
        initial = dj.methods.initial_fn("real", 1)(key, data)
        return initial._replace(target=jnp.roll(initial.y, 1, axis=1))

    recipe = recipe_of(method, digits, initial_fn=initial_fn)
    options = {"num_steps": 60, "key": KEY}
    state, history = dj.run(recipe, digits, **options)
    found = method.read(state)
    assert found.target is not None
    assert history.loss[-1] < history.loss[0] - 0.3
    assert (found.target.argmax(1) == jnp.arange(10)).mean() >= 0.8
    np.testing.assert_array_equal(found.y, np.eye(10))
    stored = dj.DistilledSet(found.x, found.y, target=found.target)
    again = dj.DistilledSet.load(stored.save(tmp_path))
    np.testing.assert_array_equal(again.target, found.target)


def test_a_run_refuses_labels_that_its_protocol_cannot_mean(digits):
    """Before the first step: at the end of a run it would be too late."""
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), digits.spec)
    matching = objectives.distribution_matching(task, num_networks=1)
    decoder, optimizer = learned(kind="centred"), {"x": optax.sgd(1.0)}
    optimizer["y"] = optax.sgd(1.0)
    method = dj.distill(matching, decoder=decoder, optimizer=optimizer)
    recipe = recipe_of(method, digits)
    with pytest.raises(errors.InputError, match="The initial `y` has a probability of"):
        dj.run(recipe, digits, num_steps=1, key=KEY)
    centred = dj.evaluation.Protocol(num_steps=5, targets="centred")
    recipe = recipe._replace(protocol=centred, sampler=samplers.per_class(2))
    dj.run(recipe, digits, num_steps=1, key=KEY)


def test_methods_whose_labels_have_a_free_mass_say_so(digits):
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), digits.spec)
    make = lambda protocol, rate: dj.methods.rat_bptt(
        task,
        num_per_class=1,
        num_inner_steps=4,
        window=2,
        protocol=protocol,
        label_learning_rate=rate,
    )
    assert make(None, None).protocol.label_mass == "one"
    assert make(None, 0.05).protocol.label_mass == "free"
    recipe = make(dj.evaluation.Protocol(num_steps=5), 0.05)
    assert recipe.protocol.label_mass == "free"  # Whatever the protocol is.
    state, _ = dj.run(recipe, digits, num_steps=5, key=KEY)
    found = recipe.method.read(state)
    assert float(jnp.abs(found.y.sum(1) - 1).max()) > 0.01
    judge = lambda protocol: dj.evaluate(
        task, found, digits, protocol=protocol, num_runs=1, key=KEY
    )
    judge(recipe.protocol)
    with pytest.raises(errors.InputError, match="The rows of `y` have sums from"):
        judge(dj.evaluation.Protocol(num_steps=5))
    stored = dj.DistilledSet(found.x, found.y, label_mass=recipe.protocol.label_mass)
    assert "of free mass" in repr(stored)


def test_values_that_are_regressed_are_learned_and_stored(tmp_path):
    """Labels start at zero, the mean; places stay what they are."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    y = (5 + x @ np.array([3.0, -2.0, 0.5])).astype(np.float32)
    data = dj.data.from_arrays(x, y, targets="values")
    task = dj.tasks.regression(dj.nets.mlp(1, hidden=()), data.spec)
    protocol = dj.evaluation.Protocol(
        num_steps=100, learning_rate=0.1, weight_decay=0.0, targets="values"
    )

    def initial_fn(key, data):
        del key  # The first examples.
        places = dj.data.normalize(data.spec.normalizer, data.train.x[:12])
        return base.Examples(places, jnp.zeros((12, 1)))

    def loss(synthetic, key, inner, batch):
        """Of the linear regression on the set, which has a closed form."""
        gram = synthetic.x.T @ synthetic.x + 1e-3 * jnp.eye(3)
        weights = jnp.linalg.solve(gram, synthetic.x.T @ synthetic.y)
        return jnp.mean((batch.x @ weights - task.encode(batch.y)) ** 2), base.Aux()

    method = dj.distill(
        base.Objective(lambda *a: {}, loss, lambda *a: {}),
        decoder=learned(kind="values"),
        optimizer={"x": optax.set_to_zero(), "y": optax.adam(0.1)},
    )
    recipe = recipe_of(method, None, initial_fn=initial_fn, protocol=protocol)
    state, _ = dj.run(recipe, data, num_steps=100, key=KEY)
    found = method.read(state)
    assert float(found.y.min()) < 0  # No probabilities.
    scale = {n: getattr(data.spec, n) for n in ("target_mean", "target_std")}
    stored = dj.DistilledSet(
        found.x,
        found.y,
        targets="values",
        normalizer={**data.spec.normalizer._asdict(), **scale},
    )
    again = dj.DistilledSet.load(stored.save(tmp_path))
    assert again.normalizer["target_mean"] == pytest.approx(data.train.y.mean())
    synthetic = dj.evaluation.to_synthetic(again)
    result = dj.evaluate(task, synthetic, data, protocol=protocol, num_runs=1, key=KEY)
    assert result.scores["r2"][0] > 0.95
