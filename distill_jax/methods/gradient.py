# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that match gradients of a network trained on the pictures: DC to DSAC.

What an option means stands with :func:`dc` or, where other methods have it too, in
:data:`~distill_jax.methods.options.OPTIONS`; ``help(dj.methods.dsac)`` shows all.
"""

from distill_jax import base
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import gradient_recipes as recipes
from distill_jax.methods import ingredients, initial_examples, options
from distill_jax.objectives import distances
from distill_jax.transforms import bending

__all__ = ["dc", "dcc", "dsa", "dsac"]


@options.named_method
def dc(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int | None = None,
    num_epochs: int | None = None,
    network_learning_rate: float = 0.01,
    distance: distances.Distance = "per_output_cosine",
    augmentation: str = "none",
    initialisation: initial_examples.Initialisation = "noise",
    factor: int = 1,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches gradients of a network, class by class (DC).

    Args:
      learning_rate: learning rate of the pictures; by default 0.1, and 0.01 with
        perceptrons.
      num_matches: matches (steps) with each network, after which a fresh one takes its
        place; the published number for ``num_per_class`` by default.
      num_epochs: epochs of the network's training on the pictures between two matches;
        the published number for ``num_per_class`` by default.
      network_learning_rate: learning rate of the network's gradient descent.
      distance: between two gradients: ``"per_output_cosine"``, of the kernels, summed
        over output units; or ``"whole_cosine"``, ``"mse"``, ``"l1"``, of all
        parameters.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = dc(task, num_per_class=1, batch_size=32)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, "Dataset Condensation with Gradient
      Matching", 2021, Algorithm 1.
    """
    return recipes.gradient_recipe(
        task,
        ingredients.Shared(
            task, num_per_class, num_examples, initialisation, factor, protocol, bend
        ),
        recipes.Descent(learning_rate, momentum, batch_size),
        recipes.Match(distance, augmentation, num_networks),
        recipes.Training(num_matches, num_epochs, network_learning_rate),
        protocol=recipes.plain_protocol(task),
    )


@options.variant_of(dc)
def dsa(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int | None = None,
    num_epochs: int | None = None,
    network_learning_rate: float = 0.01,
    distance: distances.Distance = "per_output_cosine",
    augmentation: str = "auto",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches gradients under siamese augmentation (DSA): :func:`dc`, augmented.

    The network's training and the evaluation are augmented too.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), spec)
      >>> recipe = dsa(task, num_per_class=1)
      >>> recipe.protocol.augmentation
      'color_crop_cutout_scale_rotate'

    Reference:
      Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese
      Augmentation", 2021.
    """
    return recipes.gradient_recipe(
        task,
        ingredients.Shared(
            task, num_per_class, num_examples, initialisation, factor, protocol, bend
        ),
        recipes.Descent(learning_rate, momentum, batch_size),
        recipes.Match(distance, augmentation, num_networks),
        recipes.Training(num_matches, num_epochs, network_learning_rate),
        protocol=recipes.augmented_protocol(task, augmentation),
    )


@options.variant_of(dc)
def dcc(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int | None = None,
    num_epochs: int | None = None,
    network_learning_rate: float = 0.01,
    distance: distances.Distance = "per_output_cosine",
    augmentation: str = "none",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
    warm_up: tuple[int, int] = (250, 10),
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches gradients of all classes together (DCC), after a warm-up as :func:`dc`.

    Args:
      warm_up: ``(networks, matches)``: the first so many matches of each of the first
        so many networks are class by class.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = dcc(task, num_per_class=1, batch_size=32)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Saehyung Lee et al., "Dataset Condensation with Contrastive Signals", 2022.
    """
    return recipes.gradient_recipe(
        task,
        ingredients.Shared(
            task, num_per_class, num_examples, initialisation, factor, protocol, bend
        ),
        recipes.Descent(learning_rate, momentum, batch_size),
        recipes.Match(distance, augmentation, num_networks, warm_up),
        recipes.Training(num_matches, num_epochs, network_learning_rate),
        protocol=recipes.plain_protocol(task),
    )


@options.variant_of(dcc)
def dsac(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int | None = None,
    num_epochs: int | None = None,
    network_learning_rate: float = 0.01,
    distance: distances.Distance = "per_output_cosine",
    augmentation: str = "auto",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
    warm_up: tuple[int, int] = (250, 10),
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches gradients of all classes under siamese augmentation (DSAC).

    It is to :func:`dcc` what :func:`dsa` is to :func:`dc`.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), spec)
      >>> recipe = dsac(task, num_per_class=1, augmentation="crop_rotate")
      >>> recipe.protocol.augmentation
      'crop_rotate'

    Reference:
      Saehyung Lee et al., "Dataset Condensation with Contrastive Signals", 2022.
    """
    return recipes.gradient_recipe(
        task,
        ingredients.Shared(
            task, num_per_class, num_examples, initialisation, factor, protocol, bend
        ),
        recipes.Descent(learning_rate, momentum, batch_size),
        recipes.Match(distance, augmentation, num_networks, warm_up),
        recipes.Training(num_matches, num_epochs, network_learning_rate),
        protocol=recipes.augmented_protocol(task, augmentation),
    )
