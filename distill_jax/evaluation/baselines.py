# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The arms that every comparison needs, all trained as one protocol says.

    real-hard         the whole training set, hard labels
    synthetic-hard    the distilled images, each with the class of its rows
    synthetic-any     the distilled set as it is, with its own labels
    random-any        random real images, as many, hard labels, the same protocol
    random-soft       the same kind of images with labels of an early-stopped expert

An accuracy of a distilled set means little without the fourth and the fifth: soft
labels alone carry much of it. Random images are drawn anew for every run, so that the
spread holds the draw. The expert's epoch is chosen by the students' accuracy on the
validation split; the students of that epoch are then tested, once.

**What is stored.** Real images count with the bytes of their raw array (one for a pixel
and channel), distilled ones with four for a float32; a hard label is 1 byte (2 beyond
256 classes), a soft one ``4 C``, a weight 4, a learned learning rate 4.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors, tasks
from distill_jax import data as data_lib
from distill_jax.evaluation import optimizers, programs, runs
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.inner import augment, experts, learn
from distill_jax.types import Key

__all__ = ["Arm", "ExpertSettings", "arms", "random_subsets"]


@dataclasses.dataclass(frozen=True, eq=False)
class Arm:
    """One line of a comparison.

    Attributes:
      name: ``"real-hard"``, ``"synthetic-hard"``, ``"synthetic-any"``,
        ``"random-any"`` or ``"random-soft"``.
      evaluation: accuracies on the test split.
      num_examples: how many are trained on.
      bytes_stored: what would have to be stored, labels included.
      seconds: of everything the arm needed, compilation included.
      note: what the arm is, in words.
    """

    name: str
    evaluation: runs.Evaluation
    num_examples: int
    bytes_stored: int
    seconds: float
    note: str

    def to_row(self) -> dict[str, Any]:
        """The arm as plain numbers, under the names that reports use."""
        result = self.evaluation
        return {
            "name": self.name,
            "num_examples": self.num_examples,
            "accuracy_mean": result.mean,
            "accuracy_sd": result.sd,
            "ci95": result.ci95,
            "best_on_test": result.best_on_test,
            "bytes_stored": self.bytes_stored,
            "seconds": self.seconds,
            "note": self.note,
            "is_distilled": self.name == "synthetic-any",
        }


@dataclasses.dataclass(frozen=True)
class ExpertSettings:
    """How the expert of the arm ``random-soft`` is trained and asked.

    Attributes:
      num_epochs: E, of plain SGD on the training split.
      learning_rate: of SGD.
      epochs: after which epochs it is tried as a labeller; by default at most six from
        1 to E, evenly spaced in their logarithm.
      batch_size: of mini-batches.
    """

    num_epochs: int = 40
    learning_rate: float = 0.05
    epochs: Sequence[int] | None = None
    batch_size: int = 64

    def grid(self) -> list[int]:
        """The epochs to try, in ascending order.

        Example:
          >>> ExpertSettings().grid()
          [1, 2, 4, 9, 19, 40]
        """
        if self.epochs is not None:
            return sorted(set(self.epochs))
        return sorted({int(e) for e in np.geomspace(1, self.num_epochs, 6).round()})


def arms(
    key: Key,
    task: base.Task,
    synthetic: base.Synthetic,
    data: data_lib.Dataset,
    protocol: protocol_lib.Protocol,
    num_per_class: int,
    *,
    num_runs: int = 5,
    num_real_steps: int | None = None,
    expert: ExpertSettings | None = None,
    mapping: runs.Mapping = "auto",
) -> list[Arm]:
    """Trains and tests the five arms.

    With a learned learning rate every arm uses it, as every arm uses all else of the
    protocol.

    Args:
      key: of all that is random.
      task: has the network.
      synthetic: the distilled set, class-major.
      data: the real data set, with a validation split.
      protocol: how every network is trained.
      num_per_class: how many random real images each class gets.
      num_runs: R, networks for each arm.
      num_real_steps: how many mini-batches of the whole training set are learned
        from; by default as many as the distilled set gets.
      expert: how soft labels are made.
      mapping: as in :func:`~distill_jax.evaluation.runs.evaluate`.

    Returns:
      The five arms in the order above.

    Raises:
      InputError: if the sets do not fit each other, a class has too few examples, the
        rows are no multiple of the classes, the validation split is empty, or an epoch
        is outside the training of the expert.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> from distill_jax.evaluation import baselines
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), data.spec)
      >>> set_of_ones = dj.Synthetic(x=jnp.ones((10, 8, 8, 1)), y=jnp.eye(10))
      >>> five = baselines.arms(
      ...     jax.random.key(0), task, set_of_ones, data,
      ...     dj.evaluation.Protocol(num_steps=30), num_per_class=1, num_runs=2,
      ...     expert=baselines.ExpertSettings(num_epochs=2, epochs=[2]))
      >>> [(arm.name, arm.bytes_stored) for arm in five[2:]]
      [('synthetic-any', 2960), ('random-any', 650), ('random-soft', 1040)]

    Reference:
      Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025.
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024.
    """
    expert = expert or ExpertSettings()
    keys = jax.random.split(key, 5)
    bench = _Bench(task, data, protocol, num_runs, mapping)
    num_steps = num_real_steps or optimizers.num_steps(protocol, len(synthetic.y))
    subsets = random_subsets(keys[3], data, num_per_class, num_draws=num_runs)
    return [
        _real_hard(keys[0], bench, synthetic.learning_rate, num_steps),
        _synthetic_hard(keys[1], bench, synthetic),
        _synthetic_any(keys[2], bench, synthetic),
        _random_any(keys[3], bench, synthetic.learning_rate, subsets),
        _random_soft(keys[4], bench, synthetic.learning_rate, subsets, expert),
    ]


def random_subsets(
    key: Key, data: data_lib.Dataset, num_per_class: int, *, num_draws: int
) -> np.ndarray:
    """Draws random examples of every class of the training split.

    Args:
      key: of the draws.
      data: the real data set.
      num_per_class: how many of each class, without replacement.
      num_draws: R.

    Returns:
      [R, C * num_per_class] positions in the training split, class-major.

    Raises:
      InputError: if a class has fewer examples.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax.evaluation import baselines
      >>> data = dj.data.load("digits")
      >>> index = baselines.random_subsets(jax.random.key(0), data, 2, num_draws=3)
      >>> index.shape, data.train.y[index[0, :4]].tolist()
      ((3, 20), [0, 0, 1, 1])
    """
    data_lib.check_num_per_class(data, num_per_class)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    of_class = [
        np.flatnonzero(data.train.y == label) for label in range(data.spec.num_classes)
    ]
    draw = lambda: [rng.choice(rows, num_per_class, replace=False) for rows in of_class]
    return np.stack([np.concatenate(draw()) for _ in range(num_draws)])


@dataclasses.dataclass(frozen=True, eq=False)
class _Bench:
    """What all arms share."""

    task: base.Task
    data: data_lib.Dataset
    protocol: protocol_lib.Protocol
    num_runs: int
    mapping: runs.Mapping

    def encode(self, probabilities: Any) -> Any:
        """[..., C] probabilities -> labels of the protocol's kind."""
        return tasks.encode(jnp.asarray(probabilities), self.protocol.targets)

    def one_hot(self, classes: np.ndarray) -> Any:
        """[...] classes -> [..., C] labels of the protocol's kind."""
        return self.encode(
            np.eye(self.data.spec.num_classes, dtype=np.float32)[classes]
        )

    def train(self, key: Key, examples: Any, **options: Any) -> runs.Trained:
        """Networks of one arm; `options` may name another protocol."""
        protocol = options.pop("protocol", self.protocol)
        return runs.train_networks(
            key,
            self.task,
            examples,
            protocol,
            num_runs=self.num_runs,
            mapping=self.mapping,
            **options,
        )

    def measure(self, trained: runs.Trained, split: str = "test") -> runs.Evaluation:
        return runs.measure(
            self.task, trained, self.data, split=split, mapping=self.mapping
        )

    def train_subsets(
        self, key: Key, index: np.ndarray, y: Any, learning_rate: Any
    ) -> runs.Trained:
        """Networks on another random subset [R, M] each, with labels [R, M, C]."""
        if learning_rate is not None:
            learning_rate = jnp.full(len(index), learning_rate)
        examples = base.Synthetic(self.data.train.x[index], y, None, learning_rate)
        return self.train(
            key, examples, normalizer=self.data.spec.normalizer, is_stacked=True
        )


def _real_hard(key: Key, bench: _Bench, learning_rate: Any, num_steps: int) -> Arm:
    x, classes = bench.data.train
    trained = bench.train(
        key,
        base.Synthetic(x, bench.one_hot(classes), None, learning_rate),
        protocol=dataclasses.replace(
            bench.protocol, num_epochs=None, num_steps=num_steps
        ),
        normalizer=bench.data.spec.normalizer,
    )
    size = x.nbytes + len(x) * _hard_label_bytes(bench)
    note = f"the whole training set with hard labels, {num_steps} steps"
    return _arm("real-hard", bench.measure(trained), len(x), size, note)


def _synthetic_hard(key: Key, bench: _Bench, synthetic: base.Synthetic) -> Arm:
    num_rows, num_classes = len(synthetic.y), bench.data.spec.num_classes
    if num_rows % num_classes:
        raise errors.InputError(
            f"The distilled set has {num_rows} rows for {num_classes} classes, so the "
            "class of a row is not known; use one with the same number for every class."
        )
    classes = np.repeat(np.arange(num_classes), num_rows // num_classes)
    hard = synthetic._replace(y=bench.one_hot(classes))
    size = _synthetic_bytes(synthetic) + num_rows * _hard_label_bytes(bench)
    note = "the distilled images, each labelled with its class"
    result = bench.measure(bench.train(key, hard))
    return _arm("synthetic-hard", result, num_rows, size, note)


def _synthetic_any(key: Key, bench: _Bench, synthetic: base.Synthetic) -> Arm:
    num_rows = len(synthetic.y)
    result = runs.evaluate(
        bench.task,
        synthetic,
        bench.data,
        protocol=bench.protocol,
        num_runs=bench.num_runs,
        key=key,
        mapping=bench.mapping,
    )
    y = np.asarray(synthetic.y)
    is_hard = np.array_equal(y, bench.one_hot(y.argmax(axis=1)))
    label = _hard_label_bytes(bench) if is_hard else 4 * y.shape[1]
    size = _synthetic_bytes(synthetic) + num_rows * label
    note = f"the distilled set with its own {'hard' if is_hard else 'soft'} labels"
    return _arm("synthetic-any", result, num_rows, size, note)


def _random_any(key: Key, bench: _Bench, rate: Any, index: np.ndarray) -> Arm:
    y = bench.one_hot(bench.data.train.y[index])
    result = bench.measure(bench.train_subsets(key, index, y, rate))
    num_rows = index.shape[1]
    size = bench.data.train.x[index[0]].nbytes + num_rows * _hard_label_bytes(bench)
    note = "random real images with hard labels, others in every run"
    return _arm("random-any", result, num_rows, size, note)


def _random_soft(
    key: Key, bench: _Bench, rate: Any, index: np.ndarray, settings: ExpertSettings
) -> Arm:
    key_expert, key_students = jax.random.split(key)
    labelled = _expert_labels(key_expert, bench, index, settings)
    told, labels = labelled.value
    seconds = labelled.compile_seconds + labelled.run_seconds
    best = None
    for position, epoch in enumerate(settings.grid()):
        # The same networks for every epoch: what differs are the labels alone.
        y = bench.encode(labels[position])
        trained = bench.train_subsets(key_students, index, y, rate)
        judged = bench.measure(trained, "validation")
        seconds += judged.compile_seconds + judged.run_seconds
        if best is None or judged.mean > best[0]:
            best = (judged.mean, epoch, trained)
    assert best is not None  # The grid is never empty.
    _, epoch, trained = best
    num_rows = index.shape[1]
    size = bench.data.train.x[index[0]].nbytes + num_rows * 4 * labels.shape[-1]
    note = (
        "random real images with soft labels of an expert after epoch "
        f"{epoch} of {settings.num_epochs}, chosen on the validation split (its "
        f"accuracy there {100 * told.accuracy[epoch]:.1f} %, label entropy "
        f"{told.entropy[epoch]:.2f} nats)"
    )
    untrained = trained._replace(compile_seconds=0.0, run_seconds=0.0)
    tested = bench.measure(untrained)
    seconds += tested.compile_seconds + tested.run_seconds
    arm = _arm("random-soft", tested, num_rows, size, note)
    return dataclasses.replace(arm, seconds=seconds)


def _expert_labels(
    key: Key, bench: _Bench, index: np.ndarray, settings: ExpertSettings
) -> programs.Outcome:
    """Appraisal on the validation split, and labels [epochs, R, M, C]."""
    grid = settings.grid()
    if not grid or min(grid) < 0 or max(grid) > settings.num_epochs:
        raise errors.InputError(
            f"The expert is to be asked after the epochs {grid}, but it is trained for "
            f"{settings.num_epochs}; name epochs from 0 to {settings.num_epochs}."
        )
    source, judge = (
        data_lib.to_source(bench.data, split) for split in ("train", "validation")
    )
    images = jnp.asarray(bench.data.train.x[index.ravel()])
    outcome = programs.call(
        _expert_program,
        bench.task.retarget("probabilities"),
        (
            settings.num_epochs,
            settings.learning_rate,
            settings.batch_size,
            bench.protocol.augmentation,
            bench.protocol.augmentation_align_corners,
            tuple(grid),
        ),
        key,
        source,
        judge,
        images,
    )
    told, labels = jax.device_get(outcome.value)
    labels = labels.reshape(len(grid), *index.shape, labels.shape[-1])
    return outcome._replace(value=(told, labels))


def _expert_program(
    task, num_epochs, learning_rate, batch_size, strategy, align_corners, grid
):
    """(key, source, validation source, images) -> appraisal, labels [epochs, N, C]."""

    def program(key, source, judge, images):
        expert = experts.train_expert(
            key,
            task,
            source,
            num_epochs=num_epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            policy=augment.parse(strategy, align_corners=align_corners),
        )
        told = experts.appraise(
            task, expert, judge.x, judge.y, normalizer=judge.normalizer
        )

        def label(variables):
            logits = learn.predict_logits(
                task, variables, images, normalizer=source.normalizer
            )
            return jax.nn.softmax(logits)

        return told, jax.lax.map(label, experts.at_epoch(expert, np.array(grid)))

    return program


def _arm(
    name: str, result: runs.Evaluation, num_examples: int, size: int, note: str
) -> Arm:
    seconds = result.compile_seconds + result.run_seconds
    return Arm(name, result, num_examples, size, seconds, note)


def _hard_label_bytes(bench: _Bench) -> int:
    return 1 if bench.data.spec.num_classes <= 256 else 2


def _synthetic_bytes(synthetic: base.Synthetic) -> int:
    """Bytes of all but the labels, in float32."""
    rest = (synthetic.x, synthetic.weight, synthetic.learning_rate)
    return sum(4 * np.size(leaf) for leaf in jax.tree.leaves(rest))
