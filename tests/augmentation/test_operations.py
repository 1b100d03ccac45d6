# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Each operation of augmentation against numbers of the original implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from distill_jax.augmentation import drawing, policies
from distill_jax.augmentation import images as images_lib

FILES = ("dsa_ops_12x16x3", "dsa_ops_28x28x1")
OPERATIONS = (
    "brightness",
    "saturation",
    "contrast",
    "crop",
    "cutout",
    "flip",
    "scale",
    "rotate",
)
EXTREMES = ("dsa_extremes_12x16x3", "dsa_extremes_28x28x1")


def _operation(name, file, align_corners):
    """The operation with the parameters of a file, as a function of the pictures."""
    p = {key: jnp.asarray(value) for key, value in file.items()}
    if name in ("brightness", "saturation", "contrast"):
        parameter = p["offset" if name == "brightness" else "factor"]
        return lambda x: getattr(images_lib, name)(x, parameter)
    if name == "crop":
        limit = int(file["max_shift_rows"]), int(file["max_shift_cols"])
        return lambda x: images_lib.shift(
            x, p["shift_rows"], p["shift_cols"], limit=limit
        )
    if name == "cutout":
        size = int(file["size_rows"]), int(file["size_cols"])
        return lambda x: images_lib.cutout(
            x, p["centre_rows"], p["centre_cols"], size=size
        )
    if name == "flip":
        return lambda x: images_lib.flip(x, p["flipped"])
    if name == "scale":
        return lambda x: images_lib.scale(
            x, p["scale_x"], p["scale_y"], align_corners=align_corners
        )
    return lambda x: images_lib.rotate(
        x, p["angle_radians"], align_corners=align_corners
    )


def _part(file, name):
    return {
        key.removeprefix(f"{name}/"): value
        for key, value in file.items()
        if key.startswith(f"{name}/")
    }


def _check(operation, images, weights, out, grad, tolerance, assert_near):
    weights = jnp.asarray(weights)

    def weighted(x):
        result = operation(x)
        return jnp.sum(weights * result), result

    grad_fn = jax.jit(jax.value_and_grad(weighted, has_aux=True))
    (_, result), image_grad = grad_fn(jnp.asarray(images))
    assert_near(result, out, tolerance, "out")
    assert_near(image_grad, grad, tolerance, "grad")


def _check_file(file, name, tolerance, assert_near):
    part = _part(file, name)
    endings = {"": False}
    if name in ("scale", "rotate"):
        endings = {"_align_corners_false": False, "_align_corners_true": True}
    for ending, align_corners in endings.items():
        operation = _operation(name, part, align_corners)
        out, grad = part[f"out{ending}"], part[f"grad{ending}"]
        _check(
            operation,
            part["images"],
            part["weights"],
            out,
            grad,
            tolerance,
            assert_near,
        )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("file", FILES)
def test_operation_repeats_the_original(file, name, golden, assert_near):
    _check_file(golden(file), name, 1e-12, assert_near)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_repeats_the_original_in_float32(name, golden, assert_near):
    _check_file(golden("dsa_ops_12x16x3_float32"), name, 1e-4, assert_near)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("name", ["scale", "rotate"])
@pytest.mark.parametrize("file", EXTREMES)
def test_warps_hold_at_the_ends_of_their_range(
    file, name, align_corners, golden, assert_near
):
    file = golden(file)
    widen = lambda u: u * (1.2 - 1 / 1.2) + 1 / 1.2
    if name == "scale":
        parameters = {
            "scale_x": widen(file["scale_u_x"]),
            "scale_y": widen(file["scale_u_y"]),
        }
    else:
        parameters = {"angle_radians": np.deg2rad((file["rotate_u"] - 0.5) * 30)}
    ending = f"align_corners_{str(align_corners).lower()}"
    _check(
        _operation(name, parameters, align_corners),
        file["images"],
        file["weights"],
        file[f"{name}_out_{ending}"],
        file[f"{name}_grad_{ending}"],
        1e-12,
        assert_near,
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["crop", "cutout"])
@pytest.mark.parametrize("file", EXTREMES)
def test_whole_pixels_hold_at_the_ends_of_their_range(file, name, golden, assert_near):
    file = golden(file)
    part = {key.removeprefix(f"{name}_"): value for key, value in file.items()}
    if name == "crop":
        part["max_shift_rows"] = np.abs(part["shift_rows"]).max()
        part["max_shift_cols"] = np.abs(part["shift_cols"]).max()
    _check(
        _operation(name, part, False),
        file["images"],
        file["weights"],
        part["out"],
        part["grad"],
        1e-12,
        assert_near,
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["color", "crop", "cutout", "flip", "scale", "rotate"])
def test_one_draw_serves_two_batches_as_in_the_original(name, golden, assert_near):
    file = golden("dsa_siamese")
    first = [file.get(f"{name}_draw{j}_first") for j in range(3)]
    u = [None if value is None else jnp.asarray(value)[None] for value in first]
    widen = lambda u: u * (1.2 - 1 / 1.2) + 1 / 1.2
    draws = {
        "color": lambda: {
            "offset": u[0] - 0.5,
            "saturation": u[1] * 2,
            "contrast": u[2] + 0.5,
        },
        "crop": lambda: {"rows": u[0], "columns": u[1]},
        "cutout": lambda: {"centre_rows": u[0], "centre_columns": u[1]},
        "flip": lambda: {"flipped": u[0] < 0.5},
        "scale": lambda: {"scale_x": widen(u[0]), "scale_y": widen(u[1])},
        "rotate": lambda: {"angle": (u[0] - 0.5) * 30 * jnp.pi / 180},
    }[name]()
    policy = policies.dsa_policy(name, siamese=True)
    params = drawing.sample_augmentation(
        jax.random.key(0), policy, num_examples=1, shape=(12, 16, 3)
    )
    assert jax.tree.structure(draws) == jax.tree.structure(params.draws[0])
    params = params._replace(draws=(draws,))
    for batch in ("a", "b"):
        out = drawing.augment(params, jnp.asarray(file[f"images_{batch}"]))
        assert_near(out, file[f"{name}_out_{batch}"], 1e-12, batch)


@pytest.mark.usefixtures("x64")
def test_resized_crop_interpolates_and_repeats_the_border():
    x = jnp.asarray([0.0, 10.0, 20.0, 40.0]).reshape(1, 1, 4, 1)
    zero, half, one = jnp.zeros(1), jnp.full(1, 0.5), jnp.ones(1)
    whole = images_lib.resized_crop(x, zero, zero, one)
    np.testing.assert_allclose(whole, x, atol=1e-12)
    left = images_lib.resized_crop(x, zero, zero, half)
    np.testing.assert_allclose(left.ravel(), [0, 2.5, 7.5, 12.5], atol=1e-12)
    right = images_lib.resized_crop(x, zero, 2 * one, half)
    np.testing.assert_allclose(right.ravel(), [17.5, 25, 35, 40], atol=1e-12)


def test_a_turn_of_90_degrees_moves_pixels_exactly():
    x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
    for align_corners in (False, True):
        out = images_lib.rotate(x, jnp.array([jnp.pi / 2]), align_corners=align_corners)
        np.testing.assert_allclose(out, jnp.rot90(x, axes=(1, 2)), atol=1e-5)


def test_all_parameters_come_from_one_draw():
    policy = policies.dsa_policy(mode="per_example")

    def sample(key):
        return drawing.sample_augmentation(
            key, policy, num_examples=4, shape=(8, 8, 3)
        ).draws

    assert str(jax.make_jaxpr(sample)(jax.random.key(0))).count("random_bits") == 1


def test_noise_is_gaussian_and_its_own_for_every_value():
    drawn = drawing.sample_augmentation(
        jax.random.key(0), policies.noise_policy(0.5), num_examples=40, shape=(8, 8, 3)
    ).draws[0]["noise"]
    assert drawn.shape == (40, 8, 8, 3)
    values = np.ravel(drawn) / 0.5
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert np.unique(values).size > 0.99 * values.size
