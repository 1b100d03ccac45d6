# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fields of a config, their defaults, and how `:runlocal` shrinks them.

A config file is a Python file with ``get_config(arg)`` that starts from
:func:`default`, sets what its experiment needs, and ends with :func:`finish`.
"""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from ml_collections import config_dict

from distill_jax import errors

__all__ = ["check", "default", "finish", "split_arg", "study"]

# What the values of a field are, by the type that it is declared with.
_TYPES = {
    bool: (bool, "true or false"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a text"),
}
# What `:runlocal` leaves of the options of a study that have these names.
_MOST_OF_A_STUDY = {
    "num_seeds": 2,
    "num_steps": 20,
    "num_training_steps": 50,
    "num_runs": 2,
    "num_epochs": 3,
}


def default() -> Any:
    """All fields with their defaults.

    Returns:
      A ``ml_collections.ConfigDict``; fields that are ``None`` keep the type they are
      declared with.

    Example:
      >>> default().data.name
      'digits'
    """
    config: Any = ml_collections.ConfigDict()  # Its fields have no static types.
    config.kind = "distill"  # what the config describes; see `study` for another
    config.title = ""  # heading of the report; made from the rest when empty
    config.seed = 0
    config.num_per_class = 10
    config.num_steps = 1000
    config.data = {
        "name": "digits",
        "data_dir": config_dict.placeholder(str),  # else DISTILL_JAX_DATA
        "normalization": "auto",
        "validation_fraction": config_dict.placeholder(float),
        # Random training examples of each class that are kept; all where None.
        "max_per_class": config_dict.placeholder(int),
        # The same of the validation and the test split, for quick looks alone.
        "max_test_per_class": config_dict.placeholder(int),
    }
    config.network = {"name": "convnet", "width": 32, "depth": 2}
    config.inner_network = {}  # what is different in it while distilling
    # Of products while distilling: "float32", "tensorfloat32", "bfloat16", or what the
    # device has by default.
    config.precision = config_dict.placeholder(str)
    config.method = {"name": "dm"}  # and arguments of `methods.NAME`
    # Overrides of the protocol of the method; `None` leaves a field as it is.
    config.protocol = {
        "optimizer": config_dict.placeholder(str),
        "learning_rate": config_dict.placeholder(float),
        "momentum": config_dict.placeholder(float),
        "weight_decay": config_dict.placeholder(float),
        "schedule": config_dict.placeholder(str),
        "decay_rate": config_dict.placeholder(float),
        "warmup_steps": config_dict.placeholder(int),
        "batch_size": config_dict.placeholder(int),
        "num_epochs": config_dict.placeholder(int),
        "num_steps": config_dict.placeholder(int),
        "mixing": config_dict.placeholder(str),
        "mixing_probability": config_dict.placeholder(float),
        "augmentation": config_dict.placeholder(str),
        "augmentation_align_corners": config_dict.placeholder(bool),
    }
    config.evaluate = {
        "num_runs": 5,  # fresh networks of the final evaluation
        "num_curve_points": 5,  # evaluations during distillation, on validation
        "num_curve_runs": 2,  # fresh networks of each of them
        "num_checkpoints": 5,  # points of training at which test accuracy is noted
        "arms": True,  # the arms that the result is compared with
        "num_real_steps": 1000,  # training steps on all real data
        "num_expert_epochs": 20,  # of the expert that labels random real examples
        "expert_learning_rate": 0.05,
    }
    config.log_every = 10
    config.checkpoint_every = config_dict.placeholder(int)  # a tenth of the run
    config.num_devices = 0  # what is fastest: two on the CPU where they help, else one
    config.spread = (
        "any"  # of "networks", "classes", "examples"; or one of them, "data"
    )
    config.tensorboard = False
    return config


def study() -> Any:
    """All fields of the config of a study, with their defaults.

    Returns:
      A ``ml_collections.ConfigDict`` of the kind "study"; its section ``study`` takes
      the name of a study of :mod:`distill_jax.studies`, and its options.

    Example:
      >>> study().kind
      'study'
    """
    config: Any = ml_collections.ConfigDict()
    config.kind = "study"
    config.title = ""  # heading of the page; that of the study when empty
    config.data = {"data_dir": config_dict.placeholder(str)}  # else DISTILL_JAX_DATA
    config.study = {"name": ""}  # and options of the study
    return config


def check(config: Any) -> None:
    """Raises unless a config has all fields of :func:`default`, each of its type.

    Args:
      config: that a file has made, or that a folder has stored.

    Raises:
      InputError: for the first field that is missing or of another type.

    Example:
      >>> config = default()
      >>> del config["num_steps"]
      >>> check(config)
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The config has no field "num_steps", a whole \
number; start from `settings.default()`, which has all fields.
    """
    _check_section(config, default(), "")
    for name in ("network", "method"):
        if not isinstance(config[name].get("name"), str):
            raise errors.InputError(
                f'The config has no field "{name}.name", a text; it says which '
                f"{name} is meant."
            )


def _check_section(section: Any, template: Any, prefix: str) -> None:
    """Raises unless a section has the fields of its template."""
    for name in template:
        kind, full = template.get_type(name), f"{prefix}{name}"
        wanted, words = _TYPES.get(kind, (Mapping, "a section"))
        if name not in section:
            raise errors.InputError(
                f'The config has no field "{full}", {words}; start from '
                "`settings.default()`, which has all fields."
            )
        value = section[name]
        is_left = value is None and template[name] is None
        is_other = isinstance(value, bool) != (kind is bool)
        if wanted is Mapping:
            if not hasattr(value, "to_dict"):
                raise errors.InputError(f"`{full}` is {value!r}; it must be {words}.")
            if template[name] and name not in ("network", "method"):
                _check_section(value, template[name], f"{full}.")
        elif not is_left and (is_other or not isinstance(value, wanted)):
            raise errors.InputError(f"`{full}` is {value!r}; it must be {words}.")


def split_arg(arg: str | None, methods: Sequence[str]) -> tuple[str, int, str]:
    """Reads ``METHOD,IMAGES_PER_CLASS,runlocal`` behind the colon of ``--config``.

    For config files that hold one data set and the settings of several methods on it.

    Args:
      arg: what stands behind the colon; each of the three may be missing.
      methods: the names the file knows; the first is the default.

    Returns:
      The method, the images of each class (10 by default), and what is left for
      :func:`finish`.

    Raises:
      InputError: for a word that is none of the three.

    Example:
      >>> split_arg("dsa,1,runlocal", ["dc", "dsa"])
      ('dsa', 1, 'runlocal')
      >>> split_arg(None, ["dc", "dsa"])
      ('dc', 10, '')
    """
    method, num_per_class, rest = methods[0], 10, ""
    for word in filter(None, (arg or "").split(",")):
        if word in methods:
            method = word
        elif word.isdecimal() and int(word) > 0:
            num_per_class = int(word)
        elif word == "runlocal":
            rest = word
        else:
            raise errors.InputError(
                f'This config knows no method "{word}". '
                f"{errors.nearest(word, [*methods, 'runlocal'])} Behind the colon "
                "stand a method, the images per class, and perhaps runlocal: "
                f'"{methods[0]},10,runlocal".'
            )
    return method, num_per_class, rest


def finish(config: Any, arg: str | None) -> ml_collections.ConfigDict:
    """Applies the argument behind the colon of ``--config=FILE:arg``.

    Args:
      config: a ``ml_collections.ConfigDict`` made from :func:`default` or
        :func:`study`.
      arg: ``None`` or ``""`` for the config as it is; ``"runlocal"`` for a run of a
        minute on a laptop.

    Returns:
      The same config.

    Raises:
      InputError: for another argument.

    Example:
      >>> finish(default(), "runlocal").num_steps
      20
    """
    if not arg:
        return config
    if arg != "runlocal":
        raise errors.InputError(
            f'A config takes no argument "{arg}": use "runlocal" for a run of a minute '
            "on a laptop, or nothing."
        )
    if config.get("kind") == "study":
        for name, most in _MOST_OF_A_STUDY.items():
            if isinstance(config.study.get(name), int):
                config.study[name] = min(config.study[name], most)
        return config
    config.num_steps = min(config.num_steps, 20)
    config.log_every = min(config.log_every, 5)
    config.num_per_class = min(config.num_per_class, 2)
    if "width" in config.network:
        widths = config.network.width
        config.network.width = (
            min(widths, 16)
            if isinstance(widths, int)
            else tuple(min(width, 16) for width in widths)
        )
    if "batch_size" in config.method:
        config.method.batch_size = min(config.method.batch_size, 128)
    if "num_inner_steps" in config.method:
        config.method.num_inner_steps = min(config.method.num_inner_steps, 10)
    if isinstance(config.method.get("window"), int):  # DATM's is a pair of counts.
        config.method.window = min(config.method.window, 5)
    if "experts" in config.method:
        config.method.experts.num_experts = min(config.method.experts.num_experts, 2)
        config.method.buffer = None  # Narrower experts than those of the folder.
    if config.method.get("name") == "datm":
        config.method.threshold = 10.0  # Such short paths are missed by far.
    config.evaluate.num_runs = min(config.evaluate.num_runs, 2)
    config.evaluate.num_curve_points = min(config.evaluate.num_curve_points, 2)
    if config.data.max_per_class is None:
        config.data.max_per_class = 256  # The arms learn from all that is there.
    if config.data.max_test_per_class is None:
        config.data.max_test_per_class = 100
    config.evaluate.num_checkpoints = 1
    config.evaluate.num_real_steps = min(config.evaluate.num_real_steps, 50)
    config.evaluate.num_expert_epochs = min(config.evaluate.num_expert_epochs, 2)
    config.protocol.num_epochs = None
    config.protocol.num_steps = 50
    config.protocol.warmup_steps = 10
    return config
