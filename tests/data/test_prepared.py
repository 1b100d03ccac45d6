# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sets prepared by tensorflow_datasets, read without TensorFlow.

Each test runs the library on a small set of numbers, which it can prepare by itself.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import types

import fuzzing
import mutations
import numpy as np
import pytest

from distill_jax import data, errors
from distill_jax.data import prepared as prepared_sets

PREPARE = '''
import sys
import numpy as np
import tensorflow_datasets as tfds

class TinyShapes(tfds.core.GeneratorBasedBuilder):
    """Squares of one brightness."""
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({
            "image": tfds.features.Tensor(shape=(4, 4, 1), dtype=np.uint8),
            "label": tfds.features.ClassLabel(names=["low", "mid", "high"]),
        })
        keys = ("image", "label") if sys.argv[2] == "pair" else None
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=keys)

    def _split_generators(self, manager):
        return {"train": self._make(30), "test": self._make(6)}

    def _generate_examples(self):
        raise AssertionError("unused")

    def _make(self, num):
        for i in range(num):
            image = np.full((4, 4, 1), i, np.uint8)
            yield i, {"image": image, "label": i % 3}

TinyShapes(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
assert "tensorflow" not in sys.modules
'''


def prepare(folder, form="pair"):
    command = [sys.executable, "-W", "ignore", "-c", PREPARE, str(folder), form]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("tfds"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_prepared_set_is_read_without_tensorflow(prepared):
    loaded = data.load("tfds:tiny_shapes", prepared, validation_fraction=0)
    assert loaded.spec.class_names == ("low", "mid", "high")
    assert loaded.spec.shape == (4, 4, 1)
    assert loaded.train.x.dtype == np.uint8
    values = loaded.train.x[:, 0, 0, 0]
    assert sorted(values) == list(range(30))
    np.testing.assert_array_equal(values % 3, loaded.train.y)
    assert len(loaded.test.y) == 6
    assert "tensorflow" not in sys.modules


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_set_in_another_file_format_is_refused(prepared, tmp_path):
    info = json.loads(
        (prepared / "tiny_shapes" / "1.0.0" / "dataset_info.json").read_text()
    )
    info["fileFormat"] = "tfrecord"
    features = prepared / "tiny_shapes" / "1.0.0" / "features.json"
    folder = tmp_path / "tiny_shapes" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(features.read_text())
    with pytest.raises(errors.InputError, match="as tfrecord, which cannot be read"):
        data.load("tfds:tiny_shapes", tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_set_that_pairs_nothing_is_refused(tmp_path):
    prepare(tmp_path, "no pair")
    with pytest.raises(errors.InputError, match="does not pair one input with one"):
        data.load("tfds:tiny_shapes", tmp_path)


def test_the_validation_split_of_a_set_is_kept():
    sizes = {"train": 12, "validation": 5, "test": 4}
    examples = lambda num: [
        {"image": np.full((2, 2, 1), 10 * i + 9, np.uint8), "label": i % 2}
        for i in range(num)
    ]
    info = types.SimpleNamespace(
        file_format=types.SimpleNamespace(value="array_record"),
        splits=sizes,
        supervised_keys=("image", "label"),
        features={"image": None, "label": types.SimpleNamespace(names=["a", "b"])},
    )
    builder = types.SimpleNamespace(
        info=info, as_data_source=lambda split: examples(sizes[split])
    )
    library = types.SimpleNamespace(builder_from_directory=lambda version: builder)
    raw = prepared_sets._read_version("toy", pathlib.Path("1.0.0"), library)
    assert raw.validation is not None
    assert raw.validation.x[:, 0, 0, 0].tolist() == [9, 19, 29, 39, 49]
    assert raw.validation.y.tolist() == [0, 1, 0, 1, 0]


def test_set_that_is_not_prepared_says_how_to_prepare_it(tmp_path):
    with pytest.raises(errors.InputError, match=r'"tfds:mnist" is not prepared in'):
        data.load("tfds:mnist", tmp_path)


def test_missing_library_is_named(prepared, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(errors.InputError, match="need tensorflow_datasets"):
        data.load("tfds:tiny_shapes", prepared)


def test_library_is_imported_only_when_it_is_needed():
    code = (
        "import sys, distill_jax.data as data; data.load('digits');"
        "assert 'tensorflow_datasets' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore")
def test_changed_files_are_read_or_refused_in_a_sentence(prepared, tmp_path):
    folder = tmp_path / "tiny_shapes" / "1.0.0"
    shutil.copytree(prepared / "tiny_shapes" / "1.0.0", folder)
    files = sorted(folder.iterdir())

    def change(seed):
        path = files[seed % len(files)]
        content = path.read_bytes()
        if path.suffix == ".json":
            path.write_bytes(mutations.of_json(content, seed))
        else:  # Records are filled up with zeros.
            path.write_bytes(mutations.of_bytes(content[:3000], seed) + content[3000:])
        return lambda: path.write_bytes(content)

    def read():
        loaded = data.load("tfds:tiny_shapes", tmp_path)
        return loaded.spec.fingerprint, loaded.spec.class_names

    fuzzing.check("tfds", read, change)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "form",
    [
        {"pythonClassName": "foreign_code.Feature", "tensor": {}},
        {"python_class_name": "foreign_code.Feature", "tensor": {}},
        {"type": "foreign_code.Feature", "content": {}},
        {
            "pythonClassName": "tensorflow_datasets.core.features.features_dict."
            "FeaturesDict",
            "featuresDict": {"features": {"x": {"pythonClassName": "foreign_code.F"}}},
        },
    ],
)
def test_classes_from_elsewhere_are_not_imported(prepared, tmp_path, form, monkeypatch):
    flag = tmp_path / "ran"
    (tmp_path / "foreign_code.py").write_text(f"open({str(flag)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "tiny_shapes" / "1.0.0"
    shutil.copytree(prepared / "tiny_shapes" / "1.0.0", folder)
    (folder / "features.json").write_text(json.dumps(form))
    with pytest.raises(
        errors.InputError, match=r"class foreign_code\..*was not imported"
    ):
        data.load("tfds:tiny_shapes", tmp_path)
    assert not flag.exists()
