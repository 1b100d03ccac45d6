# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What is a label worth?
#
# Random real images, one or a few of each class, and beside each the opinion of a
# network that has seen all the data: *A Label is Worth a Thousand Images in Dataset
# Distillation* (Qin, Deng, Alvarez-Melis, 2024) finds that this simple set is hard to
# beat. Here are its experiments on a hundred classes that fit on a laptop.

# %%
# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import distill_jax as dj

RUNLOCAL = os.environ.get("RUNLOCAL", "0") == "1"  # Shrinks the numbers.
NUM_EPOCHS = 12 if RUNLOCAL else 40
NUM_STEPS = 200 if RUNLOCAL else 600
NUM_SEEDS = 2 if RUNLOCAL else 3

# %% [markdown]
# ## Data
#
# Digits-100 has two digits side by side: class 37 is a 3 and a 7. Classes that share a
# digit are alike, so it is known what a good soft label should say.

# %%
data = dj.data.load("digits100")
print(data)
task = dj.tasks.classification(
    dj.nets.mlp(data.spec.num_classes, hidden=(128,)), data.spec
)
index = dj.selection.random_subsets(jax.random.key(0), data, 1, num_draws=1)[0]
images, classes = data.train.x[index], data.train.y[index]

# %% [markdown]
# ## An expert, asked while it learns
#
# One network is trained on all the data and labels the hundred images after several of
# its epochs. Early labels are soft, later ones nearly hard.

# %%
epochs = [epoch for epoch in (1, 2, 4, 6, 8, 12, 24, 40) if epoch <= NUM_EPOCHS]
soft = dj.labels.expert_labels(
    jax.random.key(1),
    task,
    data,
    dj.experts.Training(num_epochs=NUM_EPOCHS, learning_rate=0.1, batch_size=250),
    images,
    epochs=epochs,
)
for epoch in epochs:
    accuracy, entropy = (
        values[epoch] for values in (soft.appraisal.accuracy, soft.appraisal.entropy)
    )
    print(f"epoch {epoch:2d}: knows {100 * accuracy:.0f} %, {entropy:.2f} nats")

figure, axes = plt.subplots(1, len(epochs), figsize=(2 * len(epochs), 2.4))
for axis, epoch, labels in zip(axes, epochs, soft.labels, strict=True):
    axis.imshow(labels[37].reshape(10, 10), cmap="viridis", vmin=0)
    axis.set(title=f"epoch {epoch}", xlabel="right digit", ylabel="left digit")
figure.suptitle("What the expert says of one image of a 3 and a 7")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Students
#
# Fresh networks learn the hundred images, with the labels of each epoch and with hard
# labels. All of them are one program. The epoch is chosen on the validation split, and
# the test split is for the result.

# %%
protocol = dj.evaluation.Protocol(
    num_steps=NUM_STEPS,
    learning_rate=0.05,
    schedule="staircase",
    decay_rate=0.3,
    label_mass="free",
)


def students(tables):
    """[tables, seeds] accuracies in percent, on validation and on test."""
    grid = dj.evaluation.evaluate_grid(
        jax.random.key(2),
        task,
        dj.Examples(images, jnp.stack(tables)),
        data,
        protocol,
        num_seeds=NUM_SEEDS,
        splits=("validation", "test"),
        normalizer=data.spec.normalizer,
    )
    return [100 * grid.accuracies(split) for split in ("validation", "test")]


hard = jax.nn.one_hot(classes, data.spec.num_classes)
validation, test = students([hard, *soft.labels])
best = 1 + int(np.argmax(validation[1:].mean(axis=1)))
print(f"hard labels: {test[0].mean():.1f} %")
print(f"labels of epoch {epochs[best - 1]}: {test[best].mean():.1f} %")

figure, axis = plt.subplots()
axis.plot(epochs, test[1:].mean(axis=1), marker="o", label="soft labels")
axis.axhline(test[0].mean(), color="grey", label="hard labels")
axis.set(xlabel="epoch of the expert", ylabel="accuracy of students, %", xscale="log")
axis.legend()
plt.show()

# %% [markdown]
# ## Structure, not softness
#
# The same label with all but its largest entry shuffled has the same entropy. Keeping
# the k largest entries shows how much of a label is used. And exchanging the i-th
# largest entry with the smallest one shows which entries matter.

# %%
chosen = jnp.asarray(soft.labels[best - 1])
tables = {
    "as they are": chosen,
    "shuffled": dj.labels.shuffle_non_top(jax.random.key(3), chosen),
    **{f"top {k}": dj.labels.top_k(chosen, k) for k in (1, 4, 16)},
    **{f"entry {i} gone": dj.labels.swap_rank(chosen, i) for i in (1, 2, 5, 20)},
}
_, test = students(list(tables.values()))
for name, accuracy in zip(tables, test.mean(axis=1), strict=True):
    print(f"{name:15s} {accuracy:5.1f} %")

# %% [markdown]
# ## Temperature
#
# A hot late expert is soft too. Here it labels better than the best early one, which
# the paper, with its temperature of 1, does not try.

# %%
late = jnp.log(jnp.maximum(soft.labels[-1], 1e-12))  # up to a constant: its logits
temperatures = (1.0, 2.0, 3.0, 4.0, 6.0)
validation, test = students([dj.labels.from_logits(late, T) for T in temperatures])
for T, accuracy in zip(temperatures, test.mean(axis=1), strict=True):
    print(f"epoch {epochs[-1]} at T = {T:g}: {accuracy:.1f} %")

# %% [markdown]
# ## Labels that are learned
#
# Labels can be learned like pictures, through the training of a network, while the
# images stay. They end up looking like those of an expert.

# %%
recipe = dj.methods.label_bptt(
    task,
    num_per_class=1,
    index=index.tolist(),
    num_inner_steps=60,
    window=30,
    batch_size=500,
    learning_rate=5e-3,
    network_optimizer="sgd",
    network_learning_rate=0.05,
)
state, history = dj.run(
    recipe, data, num_steps=20 if RUNLOCAL else 100, key=jax.random.key(4)
)
learned = recipe.method.read(state).y
_, test = students([learned])
print(f"learned labels: {test.mean():.1f} %")
likeness = dj.labels.metrics.structure_score(learned, chosen, jnp.asarray(classes))
print(f"their entries of other classes correlate with the expert's by {likeness:.2f}")

# %% [markdown]
# Where to go from here: `distill-jax label --config=digits100_labels` makes such a set
# from one command, and `distill-jax study --config=digits100_soft_labels` holds every
# claim of the paper against several draws of images, with intervals.
