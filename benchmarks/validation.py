# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What it costs that the validation split of Digits-100 shares digits with training.

Its pairs are drawn from the same single digits as those of the training split; those of
the test split are not. So the epochs of experts are chosen twice, on this validation
split and on one half of the test split, and students of both choices are compared on
the other half. All students are those of the study of soft labels, whose finished
folder is read; they are trained again to be tested on halves, and must agree with it.

Command: python benchmarks/validation.py runs/labels_study
         (writes benchmarks/results/validation.json)
"""

import argparse
import dataclasses
import json
import pathlib

import jax
import numpy as np
import turns

import distill_jax as dj
from distill_jax import studies
from distill_jax.data import dataset as dataset_lib
from distill_jax.studies.soft_labels import epochs, making

RESULTS = pathlib.Path(__file__).parent / "results" / "validation.json"


def halves(dataset: dj.data.Dataset) -> dj.data.Dataset:
    """The same training split; every other test example of a class for validation."""
    order = np.argsort(dataset.test.y, kind="stable")
    one, other = (
        dataset_lib.Arrays(dataset.test.x[rows], dataset.test.y[rows])
        for rows in (order[::2], order[1::2])
    )
    return dataclasses.replace(dataset, validation=one, test=other)


def main() -> None:
    """Trains the students again, and compares the choices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="of the finished study")
    folder = parser.parse_args().folder
    options = json.loads((folder / "config.json").read_text())["study"]
    options.pop("name")
    study = making.make(**options)
    names = ("sizes", "chosen_epochs", "expert", "student", "num_draws")
    dataset = dj.data.load(options["data_name"])
    network = {"name": "mlp", "hidden": (128,)}
    own = {name: options.get(name) for name in names}
    bench = making.bench_of(dataset, network, **own, least_experts=5)
    known = [
        row
        for row in studies.read_results(study.cells, folder).rows
        if row["experiment"] == "epochs"
    ]
    split = dataclasses.replace(bench, dataset=halves(bench.dataset))
    rows = []
    for size in bench.protocols:
        costs = []
        for unit in range(bench.num_units):
            again = epochs.EXPERIMENT.run(split, jax.random.key(unit), unit, size)
            mine = [r for r in known if (r["size"], r["seed"]) == (size, unit)]
            for old, new in zip(mine, again, strict=True):
                whole = (new["accuracy"] + new["validation"]) / 2
                if abs(whole - old["accuracy"]) > 2e-3:
                    raise RuntimeError(f"The student of {old} is another one: {new}.")
            soft = [i for i, row in enumerate(again) if row["labels"] == "soft"]
            clean = max(soft, key=lambda i, a=again: a[i]["validation"])
            today = max(soft, key=lambda i, m=mine: m[i]["validation"])
            costs.append(100 * (again[clean]["accuracy"] - again[today]["accuracy"]))
        mean, half_width = dj.evaluation.interval(costs)
        rows.append({"size": size, "points": costs, "mean": mean, "ci95": half_width})
        print(f"{size} per class: costs {mean:.2f} +- {half_width:.2f} points: {costs}")
    about = {
        "command": "python benchmarks/validation.py FOLDER",
        "hardware": turns.hardware(),
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
