# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks are judged by what their task says, and none is right by luck."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_errors

import distill_jax as dj
from distill_jax import base, errors, evaluation, types
from distill_jax.evaluation import checks, results

PROTOCOL = evaluation.Protocol(
    num_steps=30, learning_rate=0.05, weight_decay=0.0, targets="values"
)


@pytest.fixture(scope="module")
def lines():
    data = toy_errors.data()
    x = dj.data.normalize(data.spec.normalizer, data.train.x[:6])
    return data, toy_errors.task(), base.Synthetic(x, jnp.asarray(data.train.y[:6]))


@pytest.fixture(scope="module")
def digits():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
    real = dj.methods.initial_fn("real", 1)(jax.random.key(0), data)
    few = base.Synthetic(real.x, real.y)
    protocol = evaluation.Protocol(num_steps=40, learning_rate=0.05)
    return data, task, few, protocol


def test_scores_are_those_of_the_task(lines):
    data, task, few = lines
    options = {"num_runs": 3, "num_checkpoints": 4}
    trained = evaluation.train_networks(
        jax.random.key(1), task, few, PROTOCOL, **options
    )
    result = evaluation.measure(task, trained, data)
    x = np.asarray(dj.data.normalize(data.spec.normalizer, data.test.x), np.float64)
    kernel, bias = (
        np.asarray(trained.variables.params[name], np.float64)
        for name in ("kernel", "bias")
    )
    outputs = np.einsum("nd,rkdt->rknt", x, kernel) + bias[:, :, None]
    curve = ((outputs - data.test.y) ** 2).mean((2, 3))
    np.testing.assert_allclose(result.curve, curve, rtol=1e-5)
    np.testing.assert_array_equal(result.scores["squared_error"], result.curve[:, -1])
    r2 = 1 - curve[:, -1] / data.test.y.var(axis=0).mean()
    np.testing.assert_allclose(result.scores["r2"], r2, rtol=1e-5)
    assert result.mean == pytest.approx(curve[:, -1].mean(), rel=1e-5)
    best = curve.min(axis=1).mean()  # Lower is better.
    assert result.best_on_test == pytest.approx(best, rel=1e-5)
    assert result.num_diverged == 0
    again = dj.evaluate(
        task, few, data, protocol=PROTOCOL, key=jax.random.key(1), **options
    )
    np.testing.assert_array_equal(again.curve, result.curve)
    assert str(result) == f"{result.mean:.4g} ± {result.ci95:.2g}"


def test_what_has_no_accuracy_says_so(lines):
    data, task, few = lines
    result = dj.evaluate(
        task, few, data, protocol=PROTOCOL, num_runs=1, key=jax.random.key(1)
    )
    with pytest.raises(errors.InputError, match='`scores`, which has "squared_error"'):
        result.accuracies  # noqa: B018
    narrow = few._replace(y=few.y[:, :1])
    with pytest.raises(errors.InputError, match=r"1 targets, but .* with 2"):
        dj.evaluate(
            task, narrow, data, protocol=PROTOCOL, num_runs=1, key=jax.random.key(1)
        )


def test_arms_without_classes_are_three(lines):
    data, task, few = lines
    arms = evaluation.arms(jax.random.key(0), task, few, data, PROTOCOL, num_runs=2)
    names = ["real-hard", "synthetic-any", "random-any"]
    assert [arm.name for arm in arms] == names
    assert [arm.num_examples for arm in arms] == [40, 6, 6]
    assert [arm.bytes_stored for arm in arms] == [40 * 20, 6 * 20, 6 * 20]
    assert "40 of" not in arms[0].note
    assert "the targets of the data" in arms[0].note
    rows = [arm.to_row() for arm in arms]
    assert all(row["squared_error_mean"] > 0 and row["r2_mean"] < 1 for row in rows)
    assert all("accuracy_mean" not in row for row in rows)
    with pytest.raises(errors.InputError, match="have targets, not classes"):
        evaluation.arms(jax.random.key(0), task, few, data, PROTOCOL, 1, num_runs=2)


def test_a_report_tells_scores_by_their_names(lines):
    data, task, few = lines
    arms = evaluation.arms(jax.random.key(0), task, few, data, PROTOCOL, num_runs=3)
    contents = dj.report.Contents(
        "Lines",
        arms=[arm.to_row() for arm in arms],
        metrics=arms[0].evaluation.metrics,
        evaluations=[(0, 0.0, 2.0, 0.1), (5, 1.0, -0.5, None), (9, 2.0, None, None)],
    )
    page = dj.report.to_page(contents)
    headline = dict(page.headline)
    own = arms[1].evaluation
    assert f"test squared error, ± {own.sd:.2g} between runs" in headline.values()
    assert "times the squared error of “real-hard”" in headline.values()
    (section,) = [each for each in page.sections if each.heading == "Comparison"]
    (table,) = section.tables
    assert table.headings[:4] == ["Arm", "Examples", "Squared error", "95 % interval"]
    assert "R2" in table.headings
    assert "Squared error is on test data, lower is better" in section.text
    assert f"{own.mean:.4g} ± {own.sd:.2g}" in table.rows[1].cells
    assert "accurac" not in dj.report.render_report(contents).lower()
    assert len(dj.report.contents.accuracy_rows(contents)) == 2  # R^2 may be below 0.
    text = dj.report.tables.text_table(contents.arms, contents.metrics, width=200)
    assert "Squared error" in text
    with pytest.raises(errors.InputError, match="squared_error_mean"):
        dj.report.Contents("Lines", arms=contents.arms)


def test_networks_without_a_score_are_left_out_and_told(lines):
    data, _, few = lines
    flip = lambda key: jax.random.bernoulli(key, 0.5).astype(float)
    task = toy_errors.task(flip)
    result = dj.evaluate(
        task, few, data, protocol=PROTOCOL, num_runs=6, key=jax.random.key(1)
    )
    scores = result.scores["squared_error"]
    is_known = np.isfinite(scores)
    assert 0 < result.num_diverged == (~is_known).sum() < 6
    assert result.mean == pytest.approx(scores[is_known].mean())
    arm = evaluation.synthetic_arm(
        jax.random.key(1), task, few, data, PROTOCOL, num_runs=6
    )
    assert f"{result.num_diverged} of 6 networks diverged" in arm.note
    row = arm.to_row()
    assert row["num_diverged"] == result.num_diverged
    headings, (cells,) = dj.report.tables.arm_cells([row], result.metrics)
    assert cells[headings.index("Diverged")] == str(result.num_diverged)


def test_a_network_that_diverged_is_not_right_by_luck(digits):
    data, task, few, protocol = digits
    trained = evaluation.train_networks(
        jax.random.key(1), task, few, protocol, num_runs=3
    )
    healthy = evaluation.measure(task, trained, data)
    assert healthy.num_diverged == 0
    spoil = lambda leaf: leaf.at[1].set(jnp.nan)
    spoilt = trained._replace(variables=jax.tree.map(spoil, trained.variables))
    for judge in (task, task._replace(metrics=None)):
        result = evaluation.measure(judge, spoilt, data)
        assert result.num_diverged == 1
        np.testing.assert_array_equal(result.accuracies, healthy.accuracies * [1, 0, 1])
        assert result.mean == result.accuracies.mean()


def test_one_output_that_is_not_finite_is_wrong_and_the_others_count(digits):
    data, task, few, protocol = digits
    trained = evaluation.train_networks(
        jax.random.key(1), task, few, protocol, num_runs=1
    )
    healthy = evaluation.measure(task, trained, data)
    x = np.array(data.test.x, np.float32)
    logits = task.predict(
        jax.tree.map(lambda leaf: leaf[0, -1], trained.variables),
        dj.data.normalize(data.spec.normalizer, data.test.x),
        None,
    )
    right = np.flatnonzero(np.argmax(logits, axis=-1) == data.test.y)[0]
    x[right] = np.nan

    torn = dataclasses.replace(data, test=dj.data.Arrays(x, data.test.y))
    result = evaluation.measure(task, trained, torn)
    num = len(data.test.y)
    assert result.num_diverged == 1
    assert round(num * result.mean) == round(num * healthy.mean) - 1


def test_if_all_networks_diverge_a_sentence_says_what_to_change(digits):
    data, task, few, protocol = digits

    wild = dataclasses.replace(protocol, learning_rate=1e30)
    options = {"num_runs": 2, "key": jax.random.key(1)}
    sentence = r"All of the networks \(2\) diverged.*learning rate.*\(1e\+30\)"
    with pytest.raises(errors.DivergedError, match=sentence):
        dj.evaluate(task, few, data, protocol=wild, **options)
    result = dj.evaluate(task, few, data, protocol=wild, allow_diverged=True, **options)
    assert (result.mean, result.num_diverged) == (0, 2)
    learned = dataclasses.replace(protocol, learning_rate=None)
    fast = few._replace(learning_rate=jnp.float32(1e30))
    with pytest.raises(errors.DivergedError, match=r"learned with the set \(1e\+30\)"):
        dj.evaluate(task, fast, data, protocol=learned, **options)
    torn = few._replace(x=few.x.at[0, 0].set(jnp.nan))
    with pytest.raises(errors.DivergedError, match="set itself holds values"):
        dj.evaluate(task, torn, data, protocol=protocol, **options)


def test_a_task_whose_metrics_and_facts_differ_is_refused(digits):
    data, task, few, protocol = digits
    judge = lambda task: dj.evaluate(
        task, few, data, protocol=protocol, num_runs=1, key=jax.random.key(1)
    )
    other = base.TaskFacts(metrics=(types.Metric("precision"),))
    with pytest.raises(errors.InputError, match=r"are \['accuracy'\], but .*precision"):
        judge(task._replace(facts=other))
    with pytest.raises(errors.InputError, match="do not say what they are"):
        judge(task._replace(facts=base.TaskFacts()))


def test_a_mean_of_no_network_is_not_known():
    curve = np.full((2, 3), np.nan)
    result = results.summarize(
        curve, [toy_errors.SQUARED_ERROR], is_test=True, num_diverged=2
    )
    assert np.isnan([result.mean, result.sd, result.ci95, result.best_on_test]).all()
    with pytest.raises(errors.DivergedError):
        checks.check_converged(result, PROTOCOL, None)


@pytest.mark.parametrize("targets", ["probabilities", "centred"])
def test_a_training_that_ends_far_above_zero_outputs_has_diverged(digits, targets):
    data, task, few, protocol = digits
    few = few._replace(y=dj.tasks.encode(few.y, targets))
    # Adam keeps all numbers finite, and some pictures are right by luck.
    wild = dataclasses.replace(
        protocol, optimizer="adam", learning_rate=1e6, targets=targets
    )
    options = {"num_runs": 2, "key": jax.random.key(1)}
    with pytest.raises(errors.DivergedError, match="worse than outputs of zero"):
        dj.evaluate(task, few, data, protocol=wild, **options)
    trained = evaluation.train_networks(
        jax.random.key(1), task, few, wild, num_runs=2, num_checkpoints=2
    )
    assert trained.has_diverged.tolist() == [[True, True], [True, True]]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained.variables))
    result = evaluation.measure(task, trained, data)
    assert (result.mean, result.num_diverged, result.best_on_test) == (0, 2, 0)
    tame = dataclasses.replace(wild, learning_rate=0.01)
    result = dj.evaluate(task, few, data, protocol=tame, **options)
    assert result.num_diverged == 0
