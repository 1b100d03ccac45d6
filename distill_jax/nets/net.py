# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the library asks of a network, and the way in for networks from elsewhere.

    logits = f(variables, x),  variables = (params, stats)

Four pure functions: any Flax module, or any pair of ``init`` and ``apply``, can be one.
A Flax module says what its features are by sowing them::

    self.sow("intermediates", "penultimate", x)  # Linen
    self.sow(nnx.Intermediate, "penultimate", x)  # NNX
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
from flax import linen

from distill_jax import base, errors
from distill_jax.nets import initialisers
from distill_jax.types import Array, Key, PyTree

if TYPE_CHECKING:
    from flax import nnx

__all__ = ["Net", "from_flax", "from_functions", "from_nnx", "load_flat"]

# The names under which modules take "this is training", and those that negate it.
_TRAINING = ("is_training", "training", "train")
_INFERENCE = ("deterministic", "use_running_average")


class Net(NamedTuple):
    """A network as pure functions; closed over, never an argument of ``jit``."""

    init: Callable[[Key, tuple[int, ...]], base.Variables]  # (key, shape of an example)
    apply: Callable[[base.Variables, Array], Array]  # inference: [B, ...] -> [B, C]
    apply_train: Callable[[base.Variables, Key, Array], tuple[Array, PyTree]]
    # (variables, key, x) -> logits [B, C], new stats
    features: Callable[[base.Variables, Array], Mapping[str, Array]]
    # inference: {"block0": [B, ...], ..., "penultimate": [B, D]}
    description: Mapping[str, Any]  # plain facts, enough for `build` to make it again


def from_flax(
    module: linen.Module, *, description: Mapping[str, Any] | None = None
) -> Net:
    """Makes a network of a Flax Linen module.

    Args:
      module: a module that maps [B, ...] to logits [B, C]. It may take one of the
        flags ``is_training``, ``training``, ``train``, ``deterministic`` or
        ``use_running_average``, draw from the stream ``"dropout"`` while training, and
        keep statistics in ``batch_stats`` or any collection beside ``params``.
      description: plain facts for stored recipes; the name of the class by default.

    Returns:
      A :class:`Net`. ``variables.stats`` maps collections to their trees and is ``{}``
      for a module with parameters only. Features are what the module sows in
      ``intermediates``, as a dictionary by name.

    Raises:
      InputError: from ``features``, if the module sows nothing.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import linen
      >>> from distill_jax import nets
      >>> net = nets.from_flax(linen.Dense(3))
      >>> variables = net.init(jax.random.key(0), (4,))
      >>> net.apply(variables, jnp.ones((2, 4))).shape, variables.stats
      ((2, 3), {})
    """
    inference, training = _flags(module)
    run: Any = module.apply  # What it returns depends on `mutable`.
    name = type(module).__name__

    @initialisers.drawn_at_once
    def init(key: Key, shape: tuple[int, ...]) -> base.Variables:
        key_params, key_dropout = jax.random.split(key)
        streams = {"params": key_params, "dropout": key_dropout}
        collections = module.init(streams, jnp.zeros((1, *shape)), **inference)
        stats = {key: collections[key] for key in collections if key != "params"}
        return base.Variables(collections.get("params", {}), stats)

    def apply(variables: base.Variables, x: Array) -> Array:
        return run(_collections(variables), x, **inference)

    def apply_train(
        variables: base.Variables, key: Key, x: Array
    ) -> tuple[Array, PyTree]:
        logits, stats = run(
            _collections(variables),
            x,
            rngs={"dropout": key},
            mutable=list(variables.stats),
            **training,
        )
        return logits, dict(stats)

    def features(variables: base.Variables, x: Array) -> Mapping[str, Array]:
        _, sown = run(
            _collections(variables), x, mutable=["intermediates"], **inference
        )
        sown = sown.get("intermediates", {})
        return _checked_features(
            {key: value[-1] for key, value in sown.items() if isinstance(value, tuple)},
            name,
        )

    return Net(init, apply, apply_train, features, description or {"name": name})


def from_functions(
    init: Callable[[Key, tuple[int, ...]], PyTree],
    apply: Callable[[PyTree, Array], Array],
    features: Callable[[PyTree, Array], Mapping[str, Array]] | None = None,
    *,
    description: Mapping[str, Any] | None = None,
) -> Net:
    """Makes a network of two pure functions.

    Args:
      init: ``(key, shape of one example) -> params``.
      apply: ``(params, x [B, ...]) -> logits [B, C]``, the same in training.
      features: ``(params, x) -> {"penultimate": [B, D], ...}``, where a method needs
        them.
      description: plain facts for stored recipes.

    Returns:
      A :class:`Net` without statistics.

    Raises:
      InputError: from ``features``, if none were given.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from distill_jax import nets
      >>> net = nets.from_functions(
      ...     lambda key, shape: jnp.ones((*shape, 3)), lambda params, x: x @ params)
      >>> print(net.apply(net.init(jax.random.key(0), (4,)), jnp.ones((1, 4))))
      [[4. 4. 4.]]
    """
    name = getattr(apply, "__name__", type(apply).__name__)

    def features_fn(variables: base.Variables, x: Array) -> Mapping[str, Array]:
        layers = {} if features is None else features(variables.params, x)
        return _checked_features(layers, name)

    return Net(
        init=lambda key, shape: base.Variables(init(key, shape), {}),
        apply=lambda variables, x: apply(variables.params, x),
        apply_train=lambda variables, key, x: (apply(variables.params, x), {}),
        features=features_fn,
        description=description or {"name": name},
    )


def from_nnx(
    module_fn: Callable[["nnx.Rngs"], "nnx.Module"],
    *,
    description: Mapping[str, Any] | None = None,
) -> Net:
    """Makes a network of a Flax NNX module.

    Args:
      module_fn: ``(rngs) -> module``; the module maps [B, ...] to logits [B, C].
      description: plain facts for stored recipes; the name of the class by default.

    Returns:
      A :class:`Net`. ``params`` holds the ``nnx.Param`` leaves, ``stats`` every other
      variable but random streams, which are seeded with the key of each call. An NNX
      module fixes its input size itself, so the shape given to ``init`` is not used.
      Features are what the module sows as ``nnx.Intermediate``.

    Raises:
      InputError: from ``features``, if the module sows nothing.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from distill_jax import nets
      >>> net = nets.from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs))
      >>> variables = net.init(jax.random.key(0), (4,))
      >>> sorted(variables.params), net.apply(variables, jnp.ones((2, 4))).shape
      (['bias', 'kernel'], (2, 3))
    """
    from flax import nnx  # Late: it takes as long to load as all of ours.

    kinds = (nnx.Param, nnx.RngState, ...)
    abstract = nnx.eval_shape(lambda: module_fn(nnx.Rngs(0)))
    graph, *templates = nnx.split(abstract, *kinds)
    name = type(abstract).__name__

    def init(key: Key, shape: tuple[int, ...]) -> base.Variables:
        del shape  # Known to `module_fn`.
        _, params, _, stats = nnx.split(module_fn(nnx.Rngs(key)), *kinds)
        return base.Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(stats))

    def merge(variables: base.Variables, key: Key) -> Any:
        seeded = nnx.split(module_fn(nnx.Rngs(key)), *kinds)[2]
        params, stats = jax.tree.map(lambda leaf: leaf, (templates[0], templates[2]))
        nnx.replace_by_pure_dict(params, variables.params)
        nnx.replace_by_pure_dict(stats, variables.stats)
        return nnx.merge(graph, params, seeded, stats)

    def apply(variables: base.Variables, x: Array) -> Array:
        return infer(variables, x)[0]

    def apply_train(
        variables: base.Variables, key: Key, x: Array
    ) -> tuple[Array, PyTree]:
        module = merge(variables, key)
        module.train()
        logits, _ = nnx.capture(module, nnx.Intermediate)(x)
        _, _, _, stats = nnx.split(module, *kinds)
        return logits, nnx.to_pure_dict(stats)

    def features(variables: base.Variables, x: Array) -> Mapping[str, Array]:
        sown = nnx.to_pure_dict(infer(variables, x)[1])
        return _checked_features({key: value[-1] for key, value in sown.items()}, name)

    def infer(variables: base.Variables, x: Array) -> tuple[Array, Any]:
        module = merge(variables, jax.random.key(0))  # No draw is made.
        module.eval()
        return nnx.capture(module, nnx.Intermediate)(x)

    return Net(init, apply, apply_train, features, description or {"name": name})


def load_flat(flat: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Reads a tree of parameters from names like ``conv0/kernel``.

    Args:
      flat: arrays by name, such as a loaded ``.npz`` file.
      prefix: only names that begin with it are read, and it is cut off.

    Returns:
      Nested dictionaries of jax arrays, ``{"conv0": {"kernel": ...}, ...}``.

    Raises:
      InputError: if no name begins with the prefix.

    Example:
      >>> import numpy as np
      >>> from distill_jax import nets
      >>> params = nets.load_flat({"params/dense/bias": np.zeros(2)}, prefix="params/")
      >>> params["dense"]["bias"].shape
      (2,)
    """
    arrays = {
        name.removeprefix(prefix): jnp.asarray(value)
        for name, value in flat.items()
        if name.startswith(prefix)
    }
    if not arrays:
        raise errors.InputError(
            f'None of the {len(flat)} names begins with "{prefix}", so there are no '
            f"parameters to read; the names begin {list(flat)[:3]}."
        )
    return flax.traverse_util.unflatten_dict(arrays, sep="/")


def _flags(module: linen.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keyword arguments of a module's call in inference and in training."""
    names = inspect.signature(type(module).__call__).parameters
    inference = {name: name in _INFERENCE for name in (*_TRAINING, *_INFERENCE)}
    inference = {name: value for name, value in inference.items() if name in names}
    return inference, {name: not value for name, value in inference.items()}


def _collections(variables: base.Variables) -> dict[str, Any]:
    return {"params": variables.params, **variables.stats}


def _checked_features(features: Mapping[str, Array], name: str) -> Mapping[str, Array]:
    if "penultimate" not in features:
        raise errors.InputError(
            f'The network "{name}" names no features "penultimate", which this method '
            'matches; let the module sow them ("intermediates" in Linen, '
            "`nnx.Intermediate` in NNX), or pass `features` to `from_functions`."
        )
    return features
