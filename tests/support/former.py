# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes of a run what a version without digests would have left."""

import json
import shutil

from distill_jax.runtime import orbax_files


def without_digests(workdir):
    """Takes every digest out of the folder of a run."""
    for path in workdir.glob("*.sha256"):
        path.unlink()
    for name in ("results.json", "distilled.json"):
        if (workdir / name).exists():
            without_seal(workdir / name)
    for path in (workdir / "checkpoints").glob("step_*"):
        without_manifest(path)


def without_seal(path):
    document = json.loads(path.read_text())
    kept = {name: document[name] for name in document if not name.startswith("facts_")}
    path.write_text(json.dumps(kept))


def without_manifest(path):
    """A checkpoint as version 1 has left it: orbax knows all of it."""
    manifest = json.loads((path / "manifest.json").read_text())
    arrays = orbax_files.load(path)
    shutil.rmtree(path)
    facts = {k: v for k, v in manifest["facts"].items() if k != "journal"}
    metadata = {"leaves": manifest["leaves"], "facts": facts}
    orbax_files.orbax().save(str(path), arrays, custom_metadata=metadata)
