# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws the recorded comparison with PyTorch, and prints it as a table for the docs.

``docs/_static/versus_torch.png``: how many times as long PyTorch takes, its best form,
in the median with the smallest and the largest. ``docs/_static/roofline.png``: what
both sides come to in floating point operations of the plain products and convolutions,
beside the rate of one large product.

Command: python benchmarks/picture.py
"""

import json
import math
import pathlib
import statistics

import matplotlib.pyplot as plt
import turns

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "versus_torch.json"
PICTURES = HERE.parent / "docs" / "_static"

# How names of cases begin: what they are called, and what their numbers are.
KINDS = {
    "train": ("Training", "width {}, {} steps of {} pictures"),
    "experts": ("Experts", "width {}, {} steps of {} pictures"),
    "evaluate": ("Evaluation", "width {}, {} per class"),
    "dc": ("DC", "width {}, {} real and {} learned per class"),
    "dm": ("DM", "width {}, {} real and {} learned per class"),
    "frepo": ("FRePo", "width {}, {} per class"),
    "mtt": ("MTT", "width {}, {} steps, {} per class"),
    "bptt": ("BPTT", "width {}, {} steps, {} per class"),
    "score": ("GraNd scores", "width {}, {} real"),
}


def main() -> None:
    """Draws both pictures, and prints the table and the mean."""
    content = json.loads(RESULTS.read_text())
    order = lambda name: list(KINDS).index(name.split("-")[0])
    rows = {name: content["rows"][name] for name in sorted(content["rows"], key=order)}
    mean = turns.geometric_mean(rows)
    print(table(rows))
    eager = math.exp(statistics.mean(math.log(best_eager(r)[0]) for r in rows.values()))
    print(f"Geometric mean of {len(rows)} rows: {mean:.2f}; of eager forms {eager:.2f}")
    draw_ratios(rows, mean, PICTURES / "versus_torch.png")
    counted = {name: row for name, row in rows.items() if "gflop" in row}
    if counted:
        draw_rates(counted, content["matmul_gflops"], PICTURES / "roofline.png")


def draw_ratios(rows: dict, mean: float, path: pathlib.Path) -> None:
    """A bar for each row, whose whiskers are the extremes."""
    figure, axes = _axes(rows)
    places = _places(rows)
    ratios = [row[f"torch_{row['best_torch']}_over_jax"] for row in rows.values()]
    medians = [ratio["median"] for ratio in ratios]
    below = [ratio["median"] - ratio["min"] for ratio in ratios]
    above = [ratio["max"] - ratio["median"] for ratio in ratios]
    colours = [f"C{list(KINDS).index(name.split('-')[0])}" for name in rows]
    whiskers = {"ecolor": "0.3", "capsize": 2}
    axes.barh(
        places, medians, 0.7, xerr=[below, above], color=colours, error_kw=whiskers
    )
    axes.axvline(1, color="black", lw=1)
    axes.axvline(mean, color="black", lw=1, ls="--", label=f"geometric mean {mean:.2f}")
    axes.set(
        xlabel="time of PyTorch over time of distill_jax (above 1: ours is faster)"
    )
    _finish(figure, axes, path)


def draw_rates(rows: dict, matmul_gflops: float, path: pathlib.Path) -> None:
    """Two bars for each row, and a line for the product."""
    figure, axes = _axes(rows)
    places = _places(rows)
    for shift, label in ((-0.18, "distill_jax"), (0.18, "PyTorch")):
        rates = [
            row["gflop"] * row["per_second"]["jax" if shift < 0 else row["best_torch"]]
            for row in rows.values()
        ]
        axes.barh([place + shift for place in places], rates, 0.36, label=label)
    label = f"one large product, {matmul_gflops:.0f}"
    axes.axvline(matmul_gflops, color="black", lw=1, ls="--", label=label)
    axes.set(xlabel="GFLOP/s in float32, counted for plain convolutions")
    _finish(figure, axes, path)


def best_eager(row: dict) -> tuple[float, float, float]:
    """Median, smallest and largest ratio of PyTorch's fastest eager form.

    Example:
      >>> ratio = {"median": 2.0, "min": 1.5, "max": 2.5}
      >>> best_eager({"torch_loop_over_jax": ratio, "torch_compiled_over_jax": {}})
      (2.0, 1.5, 2.5)
    """
    ratios = [
        ratio
        for form, ratio in row.items()
        if form.endswith("_over_jax") and form != "torch_compiled_over_jax"
    ]
    best = min(ratios, key=lambda ratio: ratio["median"])
    return best["median"], best["min"], best["max"]


def table(rows: dict) -> str:
    """A table in Markdown."""
    lines = [
        "| work | per second | times PyTorch, eager | times PyTorch, compiled "
        "| GFLOP/s | compiled in |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        compiled = row.get("torch_compiled_over_jax")
        cells = [
            label_of(name),
            f"{row['per_second']['jax']:.3g}",
            "{:.2f} ({:.2f} to {:.2f})".format(*best_eager(row)),
            "{median:.2f} ({min:.2f} to {max:.2f})".format(**compiled)
            if compiled
            else "-",
            f"{row['gflop'] * row['per_second']['jax']:.0f}" if "gflop" in row else "-",
            f"{row['compile_seconds']:.0f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def label_of(name: str) -> str:
    """The name of a case in words.

    Example:
      >>> label_of("dc-32-64-10-colour")
      'DC: width 32, 64 real and 10 learned per class, 32x32x3'
    """
    kind, *rest = name.removesuffix("-colour").split("-")
    title, template = KINDS[kind]
    size = ", 32x32x3" if name.endswith("-colour") else ""
    return f"{title}: {template.format(*rest)}{size}"


def _axes(rows: dict) -> tuple:
    size = (8, 1.2 + 0.26 * len(rows))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.set_yticks(_places(rows), [label_of(name) for name in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    return figure, axes


def _places(rows: dict) -> list[float]:
    """Heights of the rows, with a gap between kinds."""
    kinds = [name.split("-")[0] for name in rows]
    gaps = [0.6 * len(set(kinds[: i + 1])) for i in range(len(kinds))]
    return [i + gap for i, gap in enumerate(gaps)]


def _finish(figure, axes, path: pathlib.Path) -> None:
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    axes.grid(alpha=0.3, axis="x")
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
