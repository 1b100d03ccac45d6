# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads a config from its file and overrides its fields with words.

``--config=FILE:ARG`` runs ``get_config(ARG)`` of the file, and every
``--config.FIELD=VALUE`` then sets one field, read as the type that the field has.
"""

import importlib.util
import pathlib
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from distill_jax import errors

__all__ = ["load", "override", "shipped", "to_path"]

_PACKAGE = pathlib.Path(__file__).parents[1]
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a tuple, such as '(64, 64)'",
}


def shipped() -> pathlib.Path:
    """Returns the folder of the configs that come with the package.

    Returns:
      ``distill_jax/configs`` of an installed package, ``configs`` of a checkout.

    Example:
      >>> (shipped() / "digits_frepo.py").exists()
      True
    """
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def to_path(name: str) -> pathlib.Path:
    """Finds the file of a config.

    Args:
      name: a path; or the name of a config that comes with the package, with or without
        ``configs/`` before it and ``.py`` behind it.

    Returns:
      The path itself where there is a file, else that of the config that comes along.

    Raises:
      InputError: where there is neither.

    Example:
      >>> to_path("digits_frepo") == shipped() / "digits_frepo.py"
      True
      >>> to_path("digits_frep.py")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no config file "digits_frep.py". Did you \
mean "digits_frepo"...
    """
    path = pathlib.Path(name)
    if path.is_file():
        return path
    if path.parent in (pathlib.Path(), pathlib.Path("configs")):
        along = shipped() / f"{path.name.removesuffix('.py')}.py"
        if along.is_file():
            return along
    known = sorted(file.stem for file in shipped().glob("*.py"))
    raise errors.InputError(
        f'There is no config file "{name}". {errors.nearest(path.stem, known)} A path '
        "is taken as it is; these come with the package."
    )


def load(text: str, words: Sequence[str] = ()) -> tuple[Any, list[str]]:
    """Loads a config and overrides its fields.

    Args:
      text: ``FILE`` or ``FILE:ARG``; what stands behind the first colon is passed to
        the file's ``get_config``.
      words: those of a command line that are left; the ones that begin with
        ``--config.`` override fields.

    Returns:
      The locked config, and the words that are not about it.

    Raises:
      InputError: when the file cannot be run, or a word not be read.

    Example:
      >>> config, rest = load("digits_frepo:runlocal", ["--config.seed=3", "now"])
      >>> config.seed, config.num_steps, rest
      (3, 20, ['now'])
    """
    name, *arg = text.split(":", 1)
    path = to_path(name)
    config = _run_file(path, arg)
    if not callable(getattr(config, "lock", None)):
        raise errors.InputError(
            f"`get_config` of the config file {path} returned {type(config).__name__}; "
            "it must return what `settings.finish` returns."
        )
    config.lock()
    return config, override(config, words)


def override(config: Any, words: Sequence[str]) -> list[str]:
    """Sets fields of a config from words of a command line.

    Args:
      config: is changed.
      words: ``--config.FIELD=VALUE`` and others.

    Returns:
      The other words.

    Raises:
      InputError: for a field that is not there, or a value of another type.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.default()
      >>> override(config, ["--config.data.name=mnist", "now"])
      ['now']
      >>> config.data.name
      'mnist'
      >>> override(config, ["--config.sede=1"])
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The config has no field "sede". Did you mean \
"seed" or "spread"?
    """
    groups, rest = _by_field(config, words)
    seen: list[str] = []
    for field, group in groups.items():
        seen += group
        values = flags.FlagValues()
        try:
            config_flags.DEFINE_config_dict(
                "config", config, flag_values=values, sys_argv=seen
            )
        except flags.Error as error:  # The one thing that can still be wrong.
            raise errors.InputError(
                f"`--config.{field}` comes after a word that sets a part of it, which "
                "it would undo; put it first."
            ) from error
        try:
            rest += values(["", *group])[1:]
        except (flags.Error, TypeError) as error:
            kind = values[f"config.{field}"].flag_type()
            raise errors.InputError(_value_sentence(field, kind, group)) from error
    return rest


def _run_file(path: pathlib.Path, arg: list[str]) -> Any:
    """Calls `get_config` of a file."""
    spec = importlib.util.spec_from_file_location("config_file", path)
    if spec is None or spec.loader is None:
        raise errors.InputError(
            f"The config file {path} is no Python file; its name must end in .py."
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses of the file look there.
    try:
        with warnings.catch_warnings():
            # What the file imports by an old name is told of, as in a script.
            warnings.filterwarnings("default", module=spec.name)
            spec.loader.exec_module(module)
            return module.get_config(*arg)
    except errors.InputError:
        raise
    except Exception as error:
        raise errors.InputError(_file_sentence(path, error)) from error


def _file_sentence(path: pathlib.Path, error: Exception) -> str:
    """Says what went wrong in a config file, and in which line of it."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if pathlib.Path(frame.filename) == path.absolute()
    ]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    where = f", line {lines[-1]}" if lines else ""
    text = " ".join(str(getattr(error, "msg", error)).split())
    return (
        f"The config file {path}{where} cannot be run ({type(error).__name__}: "
        f"{text}); correct it."
    )


def _by_field(
    config: Any, words: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Sorts words by the field they set, in their order; the others stay over."""
    groups: dict[str, list[str]] = {}
    rest: list[str] = []
    is_waiting = False  # For the value of the field before.
    for word in words:
        before, _, field = word.partition("=")[0].partition("config.")
        if before in ("--", "--no", "-", "-no") and field:
            groups[field] = [*groups.pop(field, []), word]
            kind = _type_of(config, field)
            is_waiting = "=" not in word and kind is not bool
        elif is_waiting:
            groups[next(reversed(groups))].append(word)
            is_waiting = False
        else:
            rest.append(word)
    return groups, rest


def _type_of(config: Any, field: str) -> type:
    """Returns the type of a field, which must be there and have one."""
    kind, holder = ml_collections.ConfigDict, config
    for part in field.split("[")[0].split("."):
        if not issubclass(kind, ml_collections.ConfigDict):
            raise errors.InputError(
                f'The config has no field "{field}", since what stands before '
                f'"{part}" is a value.'
            )
        if part not in holder:
            raise errors.InputError(
                f'The config has no field "{field}". {errors.nearest(part, holder)}'
            )
        kind, holder = holder.get_type(part), holder[part]
    if kind is type(None):
        raise errors.InputError(
            f"`--config.{field}` cannot be set from the command line, since the "
            "config does not say of which type it is; set it in the config file."
        )
    return kind


def _value_sentence(field: str, kind: str, group: list[str]) -> str:
    """Says what a field takes instead of what it was passed."""
    noun = _KINDS.get(kind, "another value")
    _, is_one, text = group[-1].partition("=")
    if not is_one and len(group) == 1:
        return f"`--config.{field}` needs a value: {noun}."
    return f'`--config.{field}` takes {noun}, not "{text if is_one else group[-1]}".'
