# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the files of a data set lie, and what is said when they do not.

A set called NAME is looked for in ``data_dir/NAME`` and then in ``data_dir``, where
``data_dir`` is the argument or else the environment variable ``DISTILL_JAX_DATA``. The
folder may be written otherwise, as in ``FashionMNIST/raw``, where torchvision keeps its
files. Nothing is ever downloaded.
"""

import contextlib
import gzip
import io
import os
import pathlib
import zlib
from collections.abc import Iterator, Sequence

from distill_jax import errors
from distill_jax.storage import bounds

__all__ = [
    "ENVIRONMENT",
    "bare",
    "candidate_folders",
    "find",
    "looked_in",
    "opened",
    "read_whole",
]

ENVIRONMENT = "DISTILL_JAX_DATA"


def candidate_folders(
    name: str, data_dir: str | os.PathLike | None
) -> tuple[pathlib.Path, ...]:
    """Names the folders in which a data set is looked for.

    Args:
      name: the name of the set.
      data_dir: a folder, or ``None`` for the one that the environment names.

    Returns:
      ``data_dir/name``, folders that are called the same in capitals or with other
      signs between, and ``data_dir``.

    Raises:
      InputError: when no folder is named or it does not exist.

    Example:
      >>> [folder.name for folder in candidate_folders("mnist", "/")]
      ['mnist', '']
    """
    named = data_dir if data_dir is not None else os.environ.get(ENVIRONMENT)
    if not named:
        raise errors.InputError(
            f'The data set "{name}" is read from files, but no folder was named; pass '
            f"`data_dir` or set the environment variable {ENVIRONMENT} to the folder "
            f'that holds "{name}".'
        )
    folder = pathlib.Path(named).expanduser()
    if not folder.is_dir():
        source = "`data_dir`" if data_dir is not None else ENVIRONMENT
        raise errors.InputError(
            f'{source} is "{folder}", which is not a folder; name the folder that '
            f'holds the files of "{name}".'
        )
    try:
        entries = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:  # It may be entered, but not be listed.
        entries = []
    alike = [e for e in entries if bare(e.name) == bare(name) and e.name != name]
    return folder / name, *alike, folder


def looked_in(path: pathlib.Path) -> str:
    """Says where a path begins that is not absolute, in words behind its name.

    Args:
      path: that was not found.

    Example:
      >>> looked_in(pathlib.Path("/data/mine.npz"))
      ''
    """
    return "" if path.is_absolute() else f' in the folder "{pathlib.Path.cwd()}"'


def bare(name: str) -> str:
    """Takes capitals and all signs off a name, for comparison.

    Args:
      name: of a data set or a folder.

    Example:
      >>> bare("Fashion-MNIST") == bare("fashion_mnist")
      True
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())


def find(
    name: str,
    data_dir: str | os.PathLike | None,
    file_names: Sequence[str],
    *,
    other_names: Sequence[str] = (),
) -> pathlib.Path:
    """Finds one file of a data set.

    Args:
      name: the name of the set.
      data_dir: a folder, or ``None`` for the one that the environment names.
      file_names: names the file may have, relative to the folder; the first that
        exists is taken.
      other_names: further ones, which the error does not list.

    Returns:
      The path of the file.

    Raises:
      InputError: when there is none, with where it was looked for and what to set.

    Example:
      >>> import tempfile, pathlib
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     _ = pathlib.Path(folder, "a.gz").write_bytes(b"")
      ...     find("mnist", folder, ["a", "a.gz"]).name
      'a.gz'
    """
    folders = candidate_folders(name, data_dir)
    for folder in folders:
        for inside in (folder, folder / "raw"):  # The second as torchvision has it.
            for file_name in (*file_names, *other_names):
                if (inside / file_name).is_file():
                    return inside / file_name
    names = " or ".join(f'"{file_name}"' for file_name in file_names)
    places = " and ".join(f'"{folder}"' for folder in folders)
    raise errors.InputError(
        f'The data set "{name}" needs the file {names}, which is in none of {places}; '
        f"put it there, or let `data_dir` or {ENVIRONMENT} name the folder that has it."
    )


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """Opens a file, unpacking it as it is read where its name ends in ``.gz``.

    Args:
      path: the file.

    Yields:
      The file, to be read within the block.

    Raises:
      InputError: in place of whatever goes wrong in the block, such as when a packed
        file is truncated or damaged.

    Example:
      >>> import tempfile, pathlib
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "a.gz")
      ...     _ = path.write_bytes(gzip.compress(b"some bytes"))
      ...     with opened(path) as file:
      ...         file.read(4)
      b'some'
    """
    message = f'The file "{path}" cannot be read ({{error}}); fetch it again.'
    with bounds.reading(message):
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                yield file
        except EOFError as error:
            raise errors.InputError(
                f'The file "{path}" ends before its gzip stream does, so it was cut '
                "off; fetch it again."
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise errors.InputError(
                f'The file "{path}" is not a sound gzip file ({error}); fetch it '
                "again, or take the ending .gz off its name if it is already unpacked."
            ) from error


def read_whole(path: pathlib.Path) -> bytes:
    """Reads a file that is not packed, if the memory holds it.

    Args:
      path: the file.

    Returns:
      Its bytes.

    Raises:
      InputError: when it cannot be read, or is larger than what is free.

    Example:
      >>> import tempfile, pathlib
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "a")
      ...     _ = path.write_bytes(b"some bytes")
      ...     read_whole(path)
      b'some bytes'
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        bounds.check_size(size, packed=size, what=f'The file "{path}"')
        return file.read(size)
