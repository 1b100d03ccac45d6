# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Expert buffers: what is kept, resuming, damage, and what does not belong together."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors
from distill_jax import experts as experts_lib
from distill_jax.experts import appraisal, files, training
from distill_jax.storage import npz_json

PLAN = experts_lib.ExpertPlan(num_experts=2, num_epochs=3, learning_rate=0.1)


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


def make_task(digits, **options):
    net = dj.nets.mlp(10, **{"hidden": (4,), **options})
    return dj.tasks.classification(net, digits.spec)


@pytest.fixture(scope="module")
def task(digits):
    return make_task(digits)


@pytest.fixture(scope="module")
def made(digits, task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    return folder, experts_lib.make_buffer(PLAN, task, digits, folder=folder)


def copy(folder, target):
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_a_row_is_the_network_after_that_epoch(made, digits, task, assert_near):
    _, buffer = made
    key = jax.random.fold_in(jax.random.key(PLAN.seed), 1)
    expert = training.train_expert(key, task, dj.data.to_source(digits), PLAN)
    for epoch in (0, 2):
        stored = buffer.at(1, epoch).params
        own = training.at_epoch(expert, epoch).params
        jax.tree.map(lambda a, b: assert_near(a, b, 1e-6), stored, own)
    accuracy, entropy = appraisal.appraise(
        task,
        expert,
        digits.validation.x,
        digits.validation.y,
        normalizer=digits.spec.normalizer,
    )
    assert_near(buffer.accuracy[1], accuracy, 1e-5)
    assert_near(buffer.entropy[1], entropy, 1e-5)
    assert "2 experts of 3 epochs" in str(buffer)


def test_files_are_mapped_and_say_what_they_are(made):
    folder, buffer = made
    assert all(isinstance(one, np.memmap) for one in buffer.snapshots)
    facts = json.loads((folder / "experts.json").read_text())
    assert facts["data"] == "digits"
    assert facts["plan"]["learning_rate"] == 0.1
    assert len(facts["experts"]["expert_0001"]["accuracy"]) == 4


def test_only_the_epochs_asked_for_are_kept(digits, task, made):
    plan = dataclasses.replace(
        PLAN, first_epoch=1, last_epoch=1, keeps_end=True, dtype="float16"
    )
    buffer = experts_lib.make_buffer(plan, task, digits)
    assert buffer.snapshots[0].dtype == np.float16
    assert plan.kept() == [1, 3]
    whole = made[1].snapshots[0]
    np.testing.assert_allclose(buffer.snapshots[0], whole[[1, 3]], atol=1e-3)
    with pytest.raises(errors.InputError, match=r"Epoch 2 .* was not kept"):
        buffer.at(0, 2)
    source = buffer.to_source()
    assert (source.first_epoch, source.last_epoch) == (1, 1)


def test_what_is_there_is_not_trained_again(made, digits, task, tmp_path, monkeypatch):
    folder, buffer = copy(made[0], tmp_path), made[1]
    (folder / "expert_0001.npy").unlink()
    before = (folder / "expert_0000.npy").stat().st_mtime_ns
    again = experts_lib.make_buffer(PLAN, task, digits, folder=folder)
    assert (folder / "expert_0000.npy").stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.snapshots[1], buffer.snapshots[1])
    more = experts_lib.make_buffer(
        dataclasses.replace(PLAN, num_experts=3), task, digits, folder=folder
    )
    assert len(more.snapshots) == 3
    monkeypatch.setattr(training, "train_learner", None)  # Would raise.
    fewer = experts_lib.make_buffer(
        dataclasses.replace(PLAN, num_experts=1), task, digits, folder=folder
    )
    assert len(fewer.snapshots) == 1


def test_a_damaged_file_is_named_and_the_others_stay(made, digits, task, tmp_path):
    folder = copy(made[0], tmp_path)
    content = bytearray((folder / "expert_0001.npy").read_bytes())
    content[-1] ^= 1
    (folder / "expert_0001.npy").write_bytes(content)
    with pytest.raises(errors.InputError, match=r"expert_0001\.npy` is damaged"):
        experts_lib.make_buffer(PLAN, task, digits, folder=folder)
    assert (folder / "expert_0000.npy").exists()
    (folder / "experts.json").write_text("{")
    with pytest.raises(errors.InputError, match="could not be read"):
        experts_lib.make_buffer(PLAN, task, digits, folder=folder)


def test_experts_of_another_network_data_set_or_plan_are_refused(made, digits, task):
    folder, _ = made
    with pytest.raises(errors.InputError, match=r"`hidden` of the network was \[4\]"):
        experts_lib.make_buffer(
            PLAN, make_task(digits, hidden=(5,)), digits, folder=folder
        )
    other = dj.data.load("digits", normalization="none")
    with pytest.raises(errors.InputError, match="data_fingerprint"):
        experts_lib.make_buffer(PLAN, make_task(other), other, folder=folder)
    plan = dataclasses.replace(PLAN, learning_rate=0.2)
    with pytest.raises(errors.InputError, match=r"`learning_rate` of the plan was"):
        experts_lib.make_buffer(plan, task, digits, folder=folder)


def test_a_full_disk_loses_nothing_that_was_done(digits, task, tmp_path, monkeypatch):
    written = npz_json.write_files
    calls = []

    def full(files):
        calls.append(files)
        if len(calls) == 2:
            raise errors.InputError("could not be written (No space left on device)")
        written(files)

    monkeypatch.setattr(npz_json, "write_files", full)
    with pytest.raises(errors.InputError, match="No space left"):
        experts_lib.make_buffer(PLAN, task, digits, folder=tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        ".lock",
        "expert_0000.npy",
        "experts.json",
    ]
    monkeypatch.setattr(npz_json, "write_files", written)
    whole = experts_lib.make_buffer(PLAN, task, digits, folder=tmp_path)
    assert len(whole.snapshots) == 2


def test_plans_are_checked():
    for options, message in [
        ({"num_experts": 0}, "`num_experts` of the experts must be a whole number, at"),
        ({"num_epochs": 0}, "`num_epochs` of the experts must be a whole number, at"),
        ({"batch_size": 0}, "`batch_size` of the experts must be a whole number, at"),
        ({"learning_rate": 0.0}, "`learning_rate` of the experts must be above 0, got"),
        ({"augmentation": "crp"}, 'no augmentation "crp"'),
        ({"last_epoch": 30}, "there are 0 to 20"),
        ({"dtype": "int8"}, '"float32" or "float16"'),
    ]:
        with pytest.raises(errors.InputError, match=message):
            experts_lib.ExpertPlan(**options)
    assert experts_lib.ExpertPlan(sharpness={"alpha": 1.0}).sharpness.alpha == 1.0
    plan = experts_lib.ExpertPlan(num_epochs=4, momentum=0.5, seed=3)
    assert plan.training() == experts_lib.Training(num_epochs=4, momentum=0.5)
    with pytest.raises(TypeError):
        experts_lib.ExpertPlan(2, 3)  # Which is which?


def test_fields_of_later_versions_are_named_where_they_differ(digits, task):
    fields = {  # Of the folders of 0.1.0.
        "num_epochs",
        "learning_rate",
        "momentum",
        "weight_decay",
        "batch_size",
        "augmentation",
        "sharpness",
        "first_epoch",
        "last_epoch",
        "keeps_end",
        "dtype",
        "seed",
    }
    assert files.facts_of(PLAN, task, digits)["plan"].keys() == fields
    other = dataclasses.replace(PLAN, augmentation_align_corners=False)
    facts = files.facts_of(other, task, digits)["plan"]
    assert facts.keys() - fields == {"augmentation_align_corners"}


def test_batch_norm_keeps_its_statistics_and_is_no_trajectory(digits, tmp_path):
    net = dj.nets.convnet(10, width=2, depth=1, norm="batch")
    task = dj.tasks.classification(net, digits.spec)
    plan = experts_lib.ExpertPlan(num_experts=1, num_epochs=1, batch_size=256)
    first = experts_lib.make_buffer(plan, task, digits, folder=tmp_path)
    buffer = experts_lib.make_buffer(plan, task, digits, folder=tmp_path)
    (before, after) = (buffer.at(0, epoch).stats for epoch in (0, 1))
    assert jax.tree.structure(before) == jax.tree.structure(
        dj.tasks.network_shapes(task).stats
    )
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before, after)
    assert min(jax.tree.leaves(moved)) > 0
    x = dj.data.normalize(digits.spec.normalizer, digits.validation.x)
    right = np.argmax(task.predict(buffer.at(0, 1), x, None), 1) == digits.validation.y
    assert right.mean() == pytest.approx(first.accuracy[0, 1], abs=1e-6)
    with pytest.raises(errors.InputError, match="batch norm"):
        buffer.to_source()
    with pytest.raises(errors.InputError, match="batch norm"):
        dj.methods.mtt(task, num_per_class=1)


def test_logits_of_a_buffer_are_those_of_its_networks(made, digits, task, assert_near):
    _, buffer = made
    images = digits.test.x[:7]
    options = {"normalizer": digits.spec.normalizer}
    said = buffer.logits(task, images, **options)
    assert said.shape == (2, 4, 7, 10)
    x = dj.data.normalize(digits.spec.normalizer, images)
    for expert, epoch in ((0, 0), (1, 2)):
        alone = task.predict(buffer.at(expert, epoch), x, None)
        assert_near(said[expert, epoch], alone, 1e-5)
    some = buffer.logits(task, images, experts=[1], epochs=[3, 0], **options)
    np.testing.assert_allclose(some[0], said[1][jnp.array([3, 0])], rtol=1e-5)
    with pytest.raises(errors.InputError, match=r"Epoch 9 .* was not kept"):
        buffer.logits(task, images, epochs=[9])
    with pytest.raises(errors.InputError, match=r"Expert 2 .* is not there"):
        buffer.logits(task, images, experts=[2])


def test_the_rate_of_experts_may_drop_once(digits, task):
    plan = experts_lib.ExpertPlan(num_experts=1, num_epochs=4, learning_rate=0.1)
    plain, dropped = (
        experts_lib.make_buffer(
            dataclasses.replace(plan, drops_rate=drops), task, digits
        ).snapshots[0]
        for drops in (False, True)
    )
    np.testing.assert_array_equal(plain[:5], dropped[:5])  # After 4 // 2 + 2 epochs.
    longer = dataclasses.replace(plan, num_epochs=6)
    plain, dropped = (
        experts_lib.make_buffer(
            dataclasses.replace(longer, drops_rate=drops), task, digits
        ).snapshots[0]
        for drops in (False, True)
    )
    np.testing.assert_array_equal(plain[:6], dropped[:6])  # After 6 // 2 + 2.
    steps = [np.linalg.norm(each[6] - each[5]) for each in (plain, dropped)]
    assert steps[1] < 0.2 * steps[0]


def test_rows_of_another_size_are_refused():
    with pytest.raises(errors.InputError, match="another network"):
        experts_lib.unflatten(jnp.zeros(3), {"w": jnp.zeros(2)})


def test_experts_of_values_have_no_accuracy_and_are_read_again(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 3))
    data = dj.data.from_arrays(x, 3 * x[:, 0] - 100, targets="values")
    task = dj.tasks.regression(dj.nets.mlp(1, hidden=()), data.spec)
    plan = experts_lib.ExpertPlan(num_experts=1, num_epochs=20, learning_rate=0.1)
    made = experts_lib.make_buffer(plan, task, data, folder=tmp_path)
    read = experts_lib.make_buffer(plan, task, data, folder=tmp_path)
    for buffer in (made, read):
        assert np.isnan(buffer.accuracy).all()
        assert "accuracy" not in str(buffer)
    np.testing.assert_array_equal(made.snapshots[0], read.snapshots[0])
    # It learned what the task encodes, not the raw values.
    x_test = dj.data.normalize(data.spec.normalizer, data.test.x)
    outputs = task.predict(read.at(0, 20), x_test, None)
    error = task.output_loss(outputs, task.encode(data.test.y)).mean()
    assert error < 0.5
    assert "NaN" not in (tmp_path / "experts.json").read_text()


def test_a_run_keeps_the_experts_that_have_no_folder_of_their_own(
    digits, task, tmp_path, monkeypatch
):
    recipe = dj.methods.mtt(
        task,
        num_per_class=1,
        experts=PLAN,
        num_student_steps=2,
        num_expert_epochs=1,
        last_start=2,
        learning_rate=1.0,
        rate_learning_rate=1e-5,
        initial_rate=0.05,
        augmentation="none",
    )

    def run(num_steps, folder):
        # Each call is a process of its own: nothing is remembered.
        fresh = recipe._replace(source_fn=lambda data: make(data).to_source())
        key = jax.random.key(0)
        return dj.run(fresh, digits, num_steps=num_steps, key=key, workdir=folder)[0]

    def make(data):
        return experts_lib.make_buffer(PLAN, task, data)

    alone = run(2, None)
    first = run(2, tmp_path)
    (folder,) = (tmp_path / "experts").iterdir()
    assert len(list(folder.glob("expert_*.npy"))) == 2
    shutil.rmtree(tmp_path / "checkpoints")
    monkeypatch.setattr(training, "train_learner", None)  # Would raise.
    again = run(2, tmp_path)
    for state in (first, again):
        for one, two in zip(
            jax.tree.leaves(alone.latent), jax.tree.leaves(state.latent), strict=True
        ):
            np.testing.assert_array_equal(one, two)
    monkeypatch.undo()
    assert make(digits).snapshots[0].dtype == np.float32  # No run, no folder.
    assert not isinstance(make(digits).snapshots[0], np.memmap)
