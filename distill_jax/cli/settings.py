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
from distill_jax.cli import sections, shrinking

__all__ = ["check", "default", "finish", "label", "split_arg", "study"]

# What the values of a field are, by the type that it is declared with.
_TYPES = {
    bool: (bool, "true or false"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a text"),
    tuple: ((tuple, list), "several values, such as (1, 4)"),
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
    config.data = sections.data()
    config.network = {"name": "convnet", "width": 32, "depth": 2}
    config.inner_network = {}  # what is different in it while distilling
    # Of products while distilling: "float32", "tensorfloat32", "bfloat16", or what the
    # device has by default.
    config.precision = config_dict.placeholder(str)
    config.method = {"name": "dm"}  # and arguments of `methods.NAME`
    # Overrides of the protocol of the method; `None` leaves a field as it is.
    config.protocol = sections.protocol()
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


def label() -> Any:
    """All fields of the config of soft labels, with their defaults.

    Returns:
      A ``ml_collections.ConfigDict`` of the kind "label", which ``distill-jax label``
      takes.

    Example:
      >>> label().labels.temperatures
      (1.0,)
    """
    config: Any = ml_collections.ConfigDict()
    config.kind = "label"
    config.title = ""  # heading of the report; made from the rest when empty
    config.seed = 0  # of the images and the students
    config.num_per_class = 10  # random real images of each class
    config.data = sections.data()
    config.network = {"name": "convnet", "width": 32, "depth": 2}
    # In place of random real images: a distilled set, or an npz of somebody's.
    config.images = {
        "path": config_dict.placeholder(str),
        "space": config_dict.placeholder(str),  # of an npz: raw, unit, normalized
    }
    # In place of experts: an npz of logits, as `labels.write_logits` writes it.
    config.teacher = config_dict.placeholder(str)
    config.experts = {
        "folder": config_dict.placeholder(str),  # in that of the run by default
        "network": {},  # what is different in it from the students'
        "num_experts": 1,  # which label together
        "num_epochs": 40,
        "learning_rate": 0.01,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "batch_size": 256,
        "augmentation": "none",
        "drops_rate": False,
        "first_epoch": 0,  # the first that is kept
        "last_epoch": config_dict.placeholder(int),  # the last one
        "keeps_end": False,  # and the very last besides
        "seed": 0,
    }
    config.labels = {
        "epochs": (),  # completed ones to choose from; six of them by default
        "temperatures": (1.0,),  # to choose from
        "how": "logit_mean",  # several experts become one label
        "num_seeds": 2,  # students of each pair of an epoch and a temperature
        "chosen_on": "validation",  # or "test", as in the paper
    }
    # Overrides of the protocol of soft labels; `None` leaves a field as it is.
    config.protocol = sections.protocol()
    config.evaluate = {
        "num_runs": 5,  # fresh networks of each arm
        "num_checkpoints": 1,  # points of training at which test accuracy is noted
        "arms": True,  # the arms that the result is compared with
        "num_real_steps": 1000,  # training steps on all real data
    }
    config.num_devices = 0  # what is fastest: two on the CPU where they help, else one
    return config


def check(config: Any) -> None:
    """Raises unless a config has all fields of its kind, each of its type.

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
    is_label = config.get("kind") == "label"
    maker = "label" if is_label else "default"
    _check_section(config, label() if is_label else default(), "", maker)
    for name in ("network",) if is_label else ("network", "method"):
        if not isinstance(config[name].get("name"), str):
            raise errors.InputError(
                f'The config has no field "{name}.name", a text; it says which '
                f"{name} is meant."
            )


def _check_section(section: Any, template: Any, prefix: str, maker: str) -> None:
    """Raises unless a section has the fields of its template."""
    for name in template:
        kind, full = template.get_type(name), f"{prefix}{name}"
        wanted, words = _TYPES.get(kind, (Mapping, "a section"))
        if name not in section:
            raise errors.InputError(
                f'The config has no field "{full}", {words}; start from '
                f"`settings.{maker}()`, which has all fields."
            )
        value = section[name]
        is_left = value is None and template[name] is None
        is_other = isinstance(value, bool) != (kind is bool)
        if wanted is Mapping:
            if not hasattr(value, "to_dict"):
                raise errors.InputError(f"`{full}` is {value!r}; it must be {words}.")
            if template[name] and name not in ("network", "method"):
                _check_section(value, template[name], f"{full}.", maker)
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
      config: a ``ml_collections.ConfigDict`` made from :func:`default`,
        :func:`label` or :func:`study`.
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
    shrinking.shrink(config)
    return config
