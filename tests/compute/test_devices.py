# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run takes the devices that it was told to, or those that are fastest."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import distill_jax as dj
from distill_jax import errors
from distill_jax.compute import cost, devices, parallel


@pytest.fixture(scope="module")
def data():
    return dj.data.load("digits")


def task(data, **options):
    net = dj.nets.convnet(10, width=4, depth=2, **options)
    return dj.tasks.classification(net, data.spec)


def mesh_for(recipe, data, num_devices=0):
    return devices.mesh_for(recipe, data, num_devices=num_devices, axis="classes")


def test_two_devices_by_default_where_the_work_is_shared(data):
    recipe = dj.methods.dm(task(data), num_per_class=1, batch_size=16)
    mesh = mesh_for(recipe, data)
    assert mesh is not None
    assert (mesh.size, mesh.axis_names) == (2, ("any",))


def test_one_device_by_default_where_it_is_not(data):
    recipe = dj.methods.kip(task(data), num_per_class=1, num_steps=10)
    assert mesh_for(recipe, data) is None


def test_as_many_devices_as_asked_for(data):
    recipe = dj.methods.dm(task(data), num_per_class=1, batch_size=16)
    assert mesh_for(recipe, data, 1) is None
    mesh = mesh_for(recipe, data, 4)
    assert mesh is not None
    assert (mesh.size, mesh.axis_names) == (4, ("classes",))
    with pytest.raises(errors.InputError, match="99"):
        mesh_for(recipe, data, 99)


@pytest.mark.parametrize(("norm", "axis"), [("instance", "any"), ("batch", "networks")])
def test_networks_whose_examples_are_joined_are_not_cut(data, norm, axis):
    mesh = devices.side_by_side(task(data, norm=norm))
    assert mesh.axis_names == (axis,)


def test_perceptrons_are_not_cut(data):
    perceptron = dj.tasks.classification(dj.nets.mlp(10), data.spec)
    assert devices.side_by_side(perceptron).axis_names == ("networks",)


def test_on_an_accelerator_one_device_is_the_default(data, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    recipe = dj.methods.dm(task(data), num_per_class=1, batch_size=16)
    assert mesh_for(recipe, data) is None
    assert devices.side_by_side(task(data)) == "auto"


@pytest.mark.parametrize(
    ("told", "expected"),
    [({}, 2), ({"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, 3)],
)
def test_the_processor_is_split_unless_told_otherwise(told, expected):
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core")
    code = (
        "import jax; from distill_jax import devices; devices.split_cpu(); "
        "print(len(jax.devices()))"
    )
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | told
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(expected)], done.stderr


def test_multiplications_are_counted_with_the_turns_of_loops():
    def fn(a, kernel):
        body = lambda c, _: (c @ a, None)
        twice = jax.lax.scan(body, a, length=2)[0]
        picture = jnp.ones((1, 5, 5, 2))
        return twice, jax.lax.conv_general_dilated(
            picture, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    found = cost.multiplications(
        jax.make_jaxpr(fn)(jnp.ones((3, 3)), jnp.ones((3, 3, 2, 4)))
    )
    assert found == (2 * 27 + 9 * 18 * 4, 0)


def test_shared_multiplications_are_those_of_all_devices():
    mesh = parallel.device_mesh(4, axis="networks")
    fn = lambda a: parallel.spread(lambda rows: rows @ jnp.ones((3, 2)), a, "networks")
    both = lambda a: (fn(a), a.T @ a)
    found = cost.multiplications(
        jax.make_jaxpr(parallel.over_mesh(both, mesh))(jnp.ones((8, 3)))
    )
    assert found == (8 * 3 * 2 + 3 * 8 * 3, 8 * 3 * 2)
