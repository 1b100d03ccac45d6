# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What stands in the README and the documentation is true: its code runs."""

import importlib.util
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def blocks(path: pathlib.Path) -> list[str]:
    return BLOCK.findall(path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in PAGES if blocks(path)], ids=lambda path: path.name
)
def test_the_python_blocks_of_a_page_run_in_order(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with jax.numpy_rank_promotion("allow"):  # As in a reader's own session.
        namespace = {"__name__": "__page__"}
        for number, block in enumerate(blocks(path)):
            exec(compile(block, f"{path.name}, block {number}", "exec"), namespace)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_links_of_a_page_lead_to_files(path):
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_every_page_is_in_the_table_of_contents():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert path.stem == "index" or f"\n{path.stem}\n" in index, path.name


@pytest.fixture(scope="module")
def skeleton():
    path = ROOT / "docs" / "skeleton_method.py"
    spec = importlib.util.spec_from_file_location("skeleton_method", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


@pytest.fixture(scope="module")
def task(digits):
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(32,)), digits.spec)


def test_the_skeleton_method_runs_and_lowers_its_loss(skeleton, digits, task):
    recipe = skeleton.moments(task, num_per_class=2)
    state, history = dj.run(
        recipe,
        digits,
        num_steps=60,
        key=jax.random.key(0),
        logging=dj.runtime.LoggingOptions(log_every=1),
    )
    assert history.loss[-10:].mean() < 0.7 * history.loss[:10].mean()
    np.testing.assert_allclose(
        history.loss, history.metrics["first"] + history.metrics["second"], rtol=1e-5
    )
    assert recipe.method.read(state).x.shape == (20, 8, 8, 1)


def test_the_loss_of_the_skeleton_is_zero_at_the_real_batch(skeleton, digits, task):
    objective = skeleton.moment_matching(task)
    source = dj.data.to_source(digits)
    batch = dj.samplers.per_class(4)(jax.random.key(0), 0, source)
    x = batch.x.reshape(-1, *batch.x.shape[2:])
    synthetic = dj.Synthetic(x=x, y=jnp.repeat(jnp.eye(10), 4, axis=0))
    inner = objective.init(jax.random.key(1), synthetic)
    loss, _ = objective.loss(synthetic, jax.random.key(2), inner, batch)
    assert float(loss) < 1e-8


def test_the_skeleton_leaves_out_rows_of_weight_zero(skeleton, digits, task):
    objective = skeleton.moment_matching(task)
    source = dj.data.to_source(digits)
    few = dj.samplers.per_class(3)(jax.random.key(0), 0, source)
    pad = lambda leaf: jnp.concatenate([leaf, jnp.ones_like(leaf)], axis=1)
    padded = dj.Examples(x=pad(few.x), y=pad(few.y), weight=pad(few.weight))
    padded = padded._replace(weight=padded.weight.at[:, 3:].set(0.0))
    synthetic = dj.Synthetic(x=jnp.zeros((10, 8, 8, 1)), y=jnp.eye(10))
    inner = objective.init(jax.random.key(1), synthetic)
    losses = [
        float(objective.loss(synthetic, jax.random.key(2), inner, batch)[0])
        for batch in (few, padded)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_wrong_option_of_the_skeleton_is_refused_in_a_sentence(skeleton, task):
    with pytest.raises(dj.InputError, match="`deviation` must be 0 or more, got -1"):
        skeleton.moment_matching(task, deviation=-1)
    with pytest.raises(dj.InputError, match="needs a task with features"):
        skeleton.moment_matching(task._replace(features=None))
