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
# # A first distillation
#
# The library from end to end: load data, name a task and a method, run, look at what
# came out, judge it, store it, and train on the stored file without the library. It
# takes a minute or two on a laptop's CPU, and nothing in it is particular to the CPU.

# %%
# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import os
import pathlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import distill_jax as dj

RUNLOCAL = os.environ.get("RUNLOCAL", "0") == "1"  # Shrinks the numbers.
NUM_STEPS = 200 if RUNLOCAL else 2000
NUM_RUNS = 2 if RUNLOCAL else 5

# %% [markdown]
# ## Data
#
# Scikit-learn's digits are embedded, so no file is needed. There are three splits: what
# is distilled is `train`, what is chosen is chosen on `validation`, and `test` is for
# results.

# %%
data = dj.data.load("digits")
print(data)


def show(pictures, title):
    columns = min(len(pictures), 10)
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns, rows + 0.5))
    for axis, picture in zip(np.ravel(axes), pictures, strict=True):
        axis.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=255)
        axis.axis("off")
    figure.suptitle(title)
    plt.show()


# %% [markdown]
# ## Task and method
#
# A task says what learning means: here, one network that names the class of a picture.
# A named method is a composition of parts and returns a *recipe*: the method, what
# feeds it, what it starts from, and the protocol by which its result is judged.
#
# FRePo solves the last layer of a network in closed form on the synthetic pictures and
# asks how wrong it is on real ones; pictures and labels follow the gradient.

# %%
task = dj.tasks.classification(dj.nets.mlp(10, hidden=(512, 512)), data.spec)
protocol = dj.evaluation.Protocol(
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    num_steps=300,
    targets="centred",
)
recipe = dj.methods.frepo(
    task,
    num_per_class=1,
    num_steps=NUM_STEPS,
    batch_size=512,
    optimizer="adam",
    learning_rate=1e-2,
    ridge=1e-3,
    protocol=protocol,
)

# %% [markdown]
# ## Run
#
# The loop is one compiled program. With `workdir="..."` it would also keep a log and
# checkpoints, and go on where it stopped. The loss is how wrong ridge regression on the
# ten pictures is on real data, and `ridge_accuracy` how often it is right.

# %%
state, history = dj.run(recipe, data, num_steps=NUM_STEPS, key=jax.random.key(0))
synthetic = recipe.method.read(state)
print(f"{history.compile_seconds:.1f} s to compile, {history.run_seconds:.1f} s to run")

figure, axis = plt.subplots()
axis.plot(history.step, history.metrics["ridge_accuracy"])
axis.set(xlabel="step", ylabel="accuracy of ridge regression on a real batch")
plt.show()

# %% [markdown]
# ## Look
#
# Synthetic examples live in the space that networks see; `to_pixels` turns them into
# pictures. They are class-major: with one for each class, row *c* is class *c*.

# %%
seed = recipe.initial_fn(jax.random.key(0), data)
show(dj.data.to_pixels(data.spec.normalizer, seed.x), "Real pictures of each class")
show(dj.data.to_pixels(data.spec.normalizer, synthetic.x), "Distilled pictures")

# %% [markdown]
# The labels were learned too. They are *centred*: about zero, with a clear winner. What
# is off the diagonal says which digits a picture also speaks of.

# %%
figure, axis = plt.subplots()
image = axis.imshow(synthetic.y, cmap="RdBu", vmin=-1, vmax=1)
axis.set(xlabel="class", ylabel="distilled picture", title="Learned labels")
figure.colorbar(image)
plt.show()

# %% [markdown]
# ## Judge
#
# Fresh networks are trained on the ten pictures, as the protocol says, and tested on
# real ones. Beside them, the same number of random real pictures under the very same
# protocol: what is gained is the difference.

# %%
result = dj.evaluate(
    task, synthetic, data, protocol=protocol, num_runs=NUM_RUNS, key=jax.random.key(1)
)
print(f"distilled: {100 * result.mean:.1f} % +- {100 * result.sd:.1f}")

accuracies = []
for number in range(NUM_RUNS):
    real = recipe.initial_fn(jax.random.key(100 + number), data)
    real = dj.Synthetic(x=real.x, y=dj.tasks.encode(real.y, "centred"))
    one = dj.evaluate(
        task, real, data, protocol=protocol, num_runs=1, key=jax.random.key(number)
    )
    accuracies.append(100 * one.mean)
print(f"random real: {np.mean(accuracies):.1f} % +- {np.std(accuracies, ddof=1):.1f}")

# %% [markdown]
# A set that was made with one network should teach others as well.

# %%
other = dj.tasks.classification(dj.nets.convnet(10, width=16, depth=2), data.spec)
result = dj.evaluate(
    other, synthetic, data, protocol=protocol, num_runs=NUM_RUNS, key=jax.random.key(2)
)
print(f"a ConvNet on the same pictures: {100 * result.mean:.1f} %")

# %% [markdown]
# ## Store
#
# The deliverable is two files: arrays, and the facts that are needed to use them, such
# as how raw data is normalised and how a network is to be trained.

# %%
distilled = dj.DistilledSet(
    x=np.asarray(synthetic.x),
    y=np.asarray(synthetic.y),
    targets="centred",
    normalizer=data.spec.normalizer._asdict(),
    recipe={
        "network": dict(task.facts.network),
        "protocol": dataclasses.asdict(protocol),
    },
    data_fingerprint=data.spec.fingerprint,
    data={"name": data.spec.name, "class_names": data.spec.class_names},
    results={"test accuracy of a ConvNet": result.mean},
)
path = distilled.save("digits_10/")
print(path, path.stat().st_size, "bytes;", distilled.num_bytes, "of them to train on")

# %% [markdown]
# ## Use it without the library
#
# Numpy reads the files. What follows knows nothing of `distill_jax` and trains a linear
# classifier in a loop of its own.

# %%
facts = json.loads(pathlib.Path("digits_10/distilled.json").read_text("utf-8"))
with np.load("digits_10/distilled.npz", allow_pickle=False) as file:
    x, y = file["x"].reshape(len(file["x"]), -1), file["y"]
    scale, mean, std = (file[f"normalizer_{n}"] for n in ("scale", "mean", "std"))

weights, bias = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
for _ in range(300):
    error = (x @ weights + bias - y) / len(x)  # gradient of half the squared error
    weights, bias = weights - 0.05 * x.T @ error, bias - 0.05 * error.sum(axis=0)

x_test = ((data.test.x * scale - mean) / std).reshape(len(data.test.x), -1)
predicted = (x_test @ weights + bias).argmax(axis=1)
print(facts["data"]["name"], facts["targets"])
print(f"a linear classifier: {100 * np.mean(predicted == data.test.y):.1f} %")

# %% [markdown]
# ## A method by hand
#
# `dj.methods.frepo` is a composition, and so is anything you make of the same parts.
# Here: the class means of random networks' features (DM), augmented the same way on
# both sides, with several examples packed into each stored picture, and Adam in place
# of momentum.

# %%
objective = dj.transforms.siamese(
    dj.objectives.distribution_matching(task, num_networks=2),
    dj.augmentation.policies.dsa_policy("crop_rotate"),
)
decoder = dj.transforms.factorise(dj.plain_decoder(), factor=2)
method = dj.distill(objective, decoder=decoder, optimizer={"x": optax.adam(0.02)})

by_hand = dj.Recipe(
    method=method,
    sampler=dj.samplers.per_class(64),
    initial_fn=dj.methods.initial_fn("real", 4),  # four in each of ten pictures
    source_fn=dj.data.to_source,
    protocol=dj.evaluation.Protocol(num_steps=300, learning_rate=0.02),
)
state, history = dj.run(by_hand, data, num_steps=NUM_STEPS, key=jax.random.key(3))
show(
    dj.data.to_pixels(data.spec.normalizer, state.latent.learned["x"]),
    "Stored: four quarters in each picture",
)
packed = method.read(state)
print(f"stored {state.latent.learned['x'].shape}, trained on {packed.x.shape}")
result = dj.evaluate(
    task,
    packed,
    data,
    protocol=by_hand.protocol,
    num_runs=NUM_RUNS,
    key=jax.random.key(4),
)
print(f"DM by hand, factorised: {100 * result.mean:.1f} % +- {100 * result.sd:.1f}")

# %% [markdown]
# Every step is pure, so it can be looked at from outside: here, how the loss changes
# with the key of the step, that is with the network and the augmentation.

# %%
source = dj.data.to_source(data)
batch = by_hand.sampler(jax.random.key(5), jnp.zeros((), jnp.int32), source)
step = jax.jit(method.step)
losses = [float(step(jax.random.key(n), state, batch)[1].loss) for n in range(5)]
print("losses of one batch under five keys:", np.round(losses, 2))

# %% [markdown]
# Where to go from here: `docs/concepts.md` for the contracts, `docs/adding_a_method.md`
# for an objective of your own, and `distill-jax distill
# --config=configs/digits_frepo.py --workdir=runs/digits` for the same with a report at
# the end.
