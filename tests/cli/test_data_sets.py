# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The data set of a distilled set, found again from any folder."""

import shutil

import numpy as np
import PIL.Image
import pytest

import distill_jax as dj
from distill_jax import data, errors
from distill_jax.cli import data_sets, settings


def write(path, value=0):
    """A data set of one's own at a path: an npz file, or a folder of pictures."""
    x = np.arange(80, dtype=np.uint8).reshape(20, 2, 2) + np.uint8(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, x_train=x, y_train=np.arange(20) % 2)
        return path
    for i, pixels in enumerate(x):
        file = path / "ab"[i % 2] / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(file)
    return path


@pytest.fixture(params=["npz:data/mine.npz", "folder:data/mine"])
def run(request, tmp_path, monkeypatch):
    """The root of a project, a set made there by a relative path, and its config."""
    root = tmp_path / "project"
    write(root / request.param.split(":")[1])
    monkeypatch.chdir(root)
    section = {**settings.default().data, "name": request.param}
    fingerprint = data_sets.load_for({"data": section}).spec.fingerprint
    stored = dj.DistilledSet(
        x=np.eye(2),
        y=np.eye(2),
        data_fingerprint=fingerprint,
        data=data_sets.place_of(section),
    )
    (root / "runs").mkdir()
    stored.save(root / "runs" / "mine")
    return root, dj.DistilledSet.load(root / "runs" / "mine"), section


def again(run, **options):
    root, stored, section = run
    options = {"beside": root / "runs" / "mine", **options}
    found = data_sets.load_again(stored, section, **options)
    assert found.spec.fingerprint == stored.data_fingerprint
    assert found.spec.name == section["name"]


def test_it_is_where_it_was_whatever_the_folder(run, tmp_path, monkeypatch):
    again(run)
    monkeypatch.chdir(tmp_path)
    again(run)


def test_a_project_may_be_moved(run, tmp_path, monkeypatch):
    root, *_ = run
    monkeypatch.chdir(tmp_path)
    root.rename(tmp_path / "moved")
    again(run, beside=tmp_path / "moved" / "runs" / "mine")
    monkeypatch.chdir(tmp_path / "moved")
    again(run, beside=tmp_path / "elsewhere")


def test_what_an_earlier_version_stored_without_a_path_is_found(run, monkeypatch):
    root, stored, section = run
    monkeypatch.chdir(root / "runs")
    former = dj.DistilledSet(
        x=stored.x, y=stored.y, data_fingerprint=stored.data_fingerprint
    )
    again((root, former, section))


def test_the_fingerprint_decides_between_two_of_one_name(run, tmp_path, monkeypatch):
    root, _, section = run
    path = section["name"].split(":")[1]
    old, new = root / path, tmp_path / "new" / path
    new.parent.mkdir(parents=True)
    shutil.move(old, new)
    write(old, value=9)  # Where it was there is another one now.
    with pytest.raises(errors.InputError, match="their fingerprints differ"):
        again(run)
    monkeypatch.chdir(tmp_path / "new")
    again(run)


def test_both_flags_say_where_it_is_now(run, tmp_path, monkeypatch):
    root, _, section = run
    kind, path = section["name"].split(":")
    new = tmp_path / "new" / "mine"
    new = new.with_suffix(".npz") if kind == "npz" else new
    new.parent.mkdir()
    shutil.move(root / path, new)
    with pytest.raises(
        errors.InputError, match=f"is not at .* pass --data={kind}:PATH"
    ):
        again(run)
    again(run, data_dir=str(tmp_path / "new"))
    again(run, name=f"{kind}:{new}")
    again(run, name=str(new))
    if kind == "folder":
        again(run, data_dir=str(new))
    else:
        with pytest.raises(errors.InputError, match=r"is not at .*data/mine\.npz"):
            again(run, data_dir=str(root / "data"))
    with pytest.raises(errors.InputError, match="their fingerprints differ"):
        again(run, name="digits")


def test_a_relative_folder_of_data_sets_is_kept_as_an_absolute_one(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    section = {**settings.default().data, "data_dir": "data"}
    digits, there = data.load("digits"), str(tmp_path / "data")
    place = data_sets.place_of(section)
    stored = dj.DistilledSet(
        np.eye(2), np.eye(2), data_fingerprint=digits.spec.fingerprint, data=place
    )

    def load(name, folder, **options):
        if folder != there:
            raise errors.InputError("It is not here.")
        return digits

    monkeypatch.setattr(data, "load", load)
    again((tmp_path, stored, section))
    again((tmp_path, stored, {**section, "data_dir": "gone"}), data_dir=there)
    with pytest.raises(errors.InputError, match="It is not here"):
        again((tmp_path, stored, section), data_dir="data")
