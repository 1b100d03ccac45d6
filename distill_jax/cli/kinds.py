# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Says of which kind a config is, and brings those of earlier versions up to date.

``config.kind`` names what a config describes. One without the field is of the kind
"distill", because there was no other when configs had no kind.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax import errors

__all__ = ["COMMANDS", "bring_up", "check", "completed", "is_same_run", "kind_of"]

# The command that runs each kind of config.
COMMANDS = {"distill": "distill", "label": "label", "study": "study"}
# Sections of which a config may leave fields to their defaults. What the others hold
# depends on the name in them, so they are as they were written.
_FILLED = ("data", "protocol", "evaluate", "images", "experts", "labels")
# What changes no step of a run: how it is called, judged, logged and saved.
_FREE = {
    "distill": ("title", "evaluate", "log_every", "checkpoint_every", "tensorboard"),
    "label": ("title", "evaluate"),
    "study": (),
}


def kind_of(config: Mapping[str, Any]) -> str:
    """Returns the kind of a config.

    Args:
      config: a config, or what a folder has stored of one.

    Returns:
      A key of :data:`COMMANDS`.

    Raises:
      InputError: for a kind that is not known.

    Example:
      >>> kind_of({"seed": 0}), kind_of({"kind": "study"})
      ('distill', 'study')
    """
    kind = config.get("kind", "distill")
    if not isinstance(kind, str) or kind not in COMMANDS:
        raise errors.InputError(
            f'There is no config of the kind "{kind}". '
            f"{errors.nearest(str(kind), COMMANDS)}"
        )
    return kind


def check(config: Mapping[str, Any], command: str, kinds: Sequence[str]) -> None:
    """Raises unless a command takes a config of this kind.

    Args:
      config: that was passed.
      command: that it was passed to.
      kinds: that the command takes.

    Raises:
      InputError: naming the command that takes it.

    Example:
      >>> check({"kind": "study"}, "distill", ["distill"])
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The config is of the kind "study", which \
`distill-jax distill` does not take; use `distill-jax study`.
    """
    kind = kind_of(config)
    if kind not in kinds:
        raise errors.InputError(
            f'The config is of the kind "{kind}", which `distill-jax {command}` does '
            f"not take; use `distill-jax {COMMANDS[kind]}`."
        )


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the fields that came later than a stored config, with their defaults.

    Args:
      stored: what a folder holds of a config.

    Returns:
      The config as it would be stored today.

    Raises:
      InputError: when it is of an unknown kind, or a section is none.

    Example:
      >>> config = completed({"seed": 3, "data": {"name": "mnist"}})
      >>> config["kind"], config["seed"], config["data"]["normalization"]
      ('distill', 3, 'auto')
    """
    from distill_jax.cli import settings

    makers = {
        "distill": settings.default,
        "label": settings.label,
        "study": settings.study,
    }
    defaults = json.loads(json.dumps(makers[kind_of(stored)]().to_dict()))
    config = {**defaults, **stored}
    for name in _FILLED:
        if name in defaults:
            if not isinstance(config[name], Mapping):
                raise errors.InputError(
                    f"The field `{name}` of the config is {config[name]!r}, but it is "
                    "a section of fields; leave it out, or make it a mapping."
                )
            config[name] = {**defaults[name], **config[name]}
    return config


def is_same_run(stored: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Tells whether two configs take the same steps.

    Args:
      stored: what a folder, or a set, holds of one; fields may have come later.
      config: of today.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.default().to_dict()
      >>> is_same_run({"title": "Mine"} | config, config), is_same_run({}, config)
      (True, True)
      >>> is_same_run({"seed": 3}, config)
      False
    """
    now = json.loads(json.dumps(dict(config)))
    return _steps_of(completed(stored)) == _steps_of(now)


def _steps_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config decides about the steps of its run."""
    free = _FREE[kind_of(config)]
    return {name: value for name, value in config.items() if name not in free}


def bring_up(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Brings what a folder has stored of this config up to date.

    A folder that an earlier version began lacks the fields that came later; where their
    defaults are all that this config has more, the folder can be gone on with. So it
    can where the configs differ in fields that change no step: ``title``, ``evaluate``,
    ``log_every``, ``checkpoint_every`` and ``tensorboard``.

    Args:
      workdir: the folder of a run; it need not be there.
      config: what is to be run in it.

    Raises:
      InputError: when the folder is of another kind, or cannot be written.

    Example:
      >>> import tempfile
      >>> from distill_jax.cli import settings
      >>> config = settings.default().to_dict()
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "config.json")
      ...     former = {name: config[name] for name in config if name != "kind"}
      ...     _ = path.write_text(json.dumps(former))
      ...     bring_up(pathlib.Path(folder), config)
      ...     json.loads(path.read_text())["kind"]
      'distill'
    """
    from distill_jax.storage import json_files  # Late: it loads numpy.

    path = workdir / "config.json"
    if json_files.is_as_written(path) is False:
        return  # Whoever needs it makes it whole, or says what is wrong with it.
    try:
        stored = json.loads(path.read_bytes())
        found, kind = kind_of(stored), kind_of(config)
    except (OSError, ValueError, AttributeError, RecursionError):
        return  # The same.
    if found != kind:
        raise errors.InputError(
            f'The folder {workdir} is of the kind "{found}", not "{kind}"; use another '
            f"folder, or `distill-jax {COMMANDS[found]}`."
        )
    now = json.loads(json.dumps(dict(config)))
    if stored != now and is_same_run(stored, now):
        from distill_jax.runtime import workdir as workdirs
        from distill_jax.storage import atomic

        with workdirs.writing(workdir):
            text = json.dumps(now, indent=2)
            atomic.replace_files(json_files.with_digest(path, text))
