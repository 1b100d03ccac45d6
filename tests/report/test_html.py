# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page: one file, complete, honest about what is left out, right in a browser."""

import base64
import html.parser
import importlib.resources
import itertools
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from distill_jax import errors, report

CHROMIUM = shutil.which("chromium")
ARMS = [
    {
        "name": "Distilled",
        "num_examples": 30,
        "accuracy_mean": 0.9,
        "accuracy_sd": 0.01,
        "ci95": (0.89, 0.91),
        "best_on_test": 0.92,
        "bytes_stored": 8000,
        "seconds": 12.0,
        "note": "Learned by matching class means.",
        "is_distilled": True,
    },
    {"name": "Random", "num_examples": 30, "accuracy_mean": 0.8, "note": "Drawn."},
    {"name": "Everything", "num_examples": 1500, "accuracy_mean": 0.98},
]


def images(num_classes=3, num_per_class=10, size=8, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    shape = (num_classes, num_per_class, size, size, channels)
    return rng.integers(0, 256, shape, np.uint8)


def make(**changes):
    fields = {
        "facts": {"Data set": "toy", "Method": "DM", "Network": "ConvNet"},
        "config": {"num_per_class": 10, "path": "a" * 300},
        "class_names": ["cat", "automobile", "dog"],
        "distilled_images": images(),
        "real_images": images(seed=1),
        "labels": np.repeat(np.eye(3), 10, axis=0),
        "history": [(i, 0.1 * i, 1.0 / (i + 1)) for i in range(50)],
        "evaluations": [(0, 0.0, 0.5, 0.1), (50, 5.0, 0.9, 0.01)],
        "arms": ARMS,
        "costs": {"distil": "12 s", "steps per second": 48.71, "networks": 2000},
        "usage": "distill-jax distill --config=configs/toy.py " + "--long " * 30,
    }
    return report.Contents("Toy in 30 examples", **(fields | changes))


class Outline(html.parser.HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def test_the_page_is_self_contained():
    text = report.render_report(make())
    outline = Outline(text)
    assert not outline.all("script") + outline.all("link") + outline.all("iframe")
    pictures = outline.all("img")
    assert len(pictures) == 3 + 3 + 1 + 2
    assert all(picture["src"].startswith("data:image/") for picture in pictures)
    assert all(picture["alt"] for picture in pictures)
    decoded = [base64.b64decode(p["src"].split(",")[1]) for p in pictures]
    pattern = rb"(?:href|src)=\"(?!#|data:)|url\((?!#)|@import"
    assert not any(re.search(pattern, d) for d in decoded if d[1:4] != b"PNG")
    assert not re.search(pattern, re.sub(r'src="data:[^"]*"', "", text).encode())


def test_the_page_has_one_title_and_sections_in_order():
    outline = Outline(report.render_report(make()))
    assert [tag for tag, _ in outline.tags].count("h1") == 1
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    steps = [after - before for before, after in itertools.pairwise(levels)]
    assert max(steps) == 1


def test_the_headline_says_what_was_won():
    text = report.render_report(make()).replace("\N{NO-BREAK SPACE}", " ")
    for part in ("90.0 %", "instead of 1,500 (2 %)", ">92 %<", "8 kB"):
        assert part in text, part


def test_only_the_distilled_arm_is_highlighted():
    rows = [r for r in Outline(report.render_report(make())).all("tr") if r]
    assert [row.get("class") for row in rows if "role" in row] == [
        None,
        "ours",
        None,
        None,
    ]


def test_text_is_escaped():
    bad = "<script>alert(1)</script> & $x$"
    arms = [{"name": bad, "note": bad, "accuracy_mean": 0.5, "num_examples": 3}]
    contents = make(
        class_names=[bad, "b", "c"],
        facts={bad: bad},
        config={bad: bad},
        costs={bad: bad},
        usage=bad,
        arms=arms,
    )
    text = report.render_report(contents)
    outline = Outline(text)
    assert not outline.all("script")
    for picture in outline.all("img"):
        content = base64.b64decode(picture["src"].split(",")[1])
        assert b"<script" not in content


def test_what_is_not_there_is_said():
    text = report.render_report(report.Contents("Bare"))
    assert "The examples are not pictures" in text
    assert "Labels were not learned" in text
    for heading in ("Comparison", "Course", "Cost", "Use and reproduce"):
        assert heading not in text


def test_arms_without_accuracy_have_no_bar():
    text = report.render_report(make(arms=[{"name": "ours", "is_distilled": True}]))
    assert 'class="bar"' not in text
    assert 'class="headline"' not in text


def test_many_examples_and_classes_are_cut_and_said():
    contents = make(
        class_names=[str(i) for i in range(100)],
        distilled_images=images(100, 50),
        real_images=images(100, 10),
        labels=None,
    )
    text = report.render_report(contents)
    assert "the first 20 of 100 classes" in text
    assert "the first 10 of 50 distilled" in text
    assert len(Outline(text).all("img")) == 2 * 20 + 2


def test_the_mass_of_labels_is_told_where_it_is_free():
    labels = np.repeat(np.diag([0.5, 1.0, 3.6]), 10, axis=0)
    text = report.render_report(make(labels=labels, label_mass="free"))
    assert "The rows have sums from 0.5 to 3.6, by which they weigh" in text
    assert "a distribution over the classes" not in text
    assert "a distribution over the classes" in report.render_report(make())


def test_nothing_is_said_where_everything_is_shown():
    assert "Shown are" not in report.render_report(make())


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_is_not_known_is_never_shown_as_a_number(unknown):
    fields = {"accuracy_sd": unknown, "ci95": unknown, "best_on_test": unknown}
    arms = [ARMS[0] | fields, ARMS[1] | {"accuracy_mean": unknown}, ARMS[2]]
    text = report.render_report(make(arms=arms, evaluations=[(0, 0.0, 0.5, unknown)]))
    assert "90.0" in text
    assert "nan" not in re.sub(r'src="[^"]*"', "", text)
    assert "±" not in text
    assert "the band is" not in text
    text = report.render_report(make(arms=[ARMS[0] | {"accuracy_mean": unknown}]))
    assert "nan" not in re.sub(r'src="[^"]*"', "", text)


def test_the_caption_names_the_band_only_where_one_is_drawn():
    assert "the band is" in report.render_report(make())
    flat = make(evaluations=[(0, 0.0, 0.5, 0.0), (50, 5.0, 0.9, 0.0)])
    assert "the band is" not in report.render_report(flat)


def test_the_page_does_not_say_that_all_arms_train_equally_long():
    real = {"name": "real-hard", "num_examples": 1500, "note": "1000 steps"}
    text = report.render_report(make(arms=[ARMS[0], real]))
    assert "real-hard takes a number of steps of its own" in text
    assert "only what they train on differs" not in text
    assert "steps of its own" not in report.render_report(make())


def test_figures_follow_the_colours_of_the_page():
    text = report.render_report(make(distilled_images=None, real_images=None))
    for picture in Outline(text).all("img"):
        figure = base64.b64decode(picture["src"].split(",")[1]).decode()
        assert "prefers-color-scheme: dark" in figure
        assert "var(--ink)" in figure
        assert report.figures.INK not in figure.split("</style>", 1)[1]
        assert "DejaVu" not in figure


def test_the_same_contents_make_the_same_page():
    assert report.render_report(make()) == report.render_report(make())


def test_the_template_is_a_file_of_the_package():
    assert (importlib.resources.files("distill_jax.report") / "template.html").is_file()


def test_a_report_goes_to_a_file_or_a_folder(tmp_path):
    assert report.write_report(make(), tmp_path) == tmp_path / "report.html"
    path = report.write_report(make(), tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8").endswith("</html>")


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.InputError, match="could not be written"):
        report.write_report(make(), tmp_path / "file" / "page.html")

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(errors.InputError, match="No space left on device"):
        report.write_report(make(), tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def browse(folder, page, *options):
    """Opens a page in Chromium without a window; returns the DOM and the log."""
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--v=0",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,1000",
            *options,
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


# The unchanged page in a frame; the script that measures it stands outside.
WRAPPER = """<!DOCTYPE html><meta charset="utf-8">
<iframe style="width: WIDTHpx; height: 900px; border: 0"></iframe><pre></pre>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  const images = [...page.images];
  document.querySelector("pre").textContent = JSON.stringify({
    widths: images.map(image => image.naturalWidth),
    shown: images.map(image => image.getBoundingClientRect().width),
    scroll: root.scrollWidth, client: root.clientWidth,
    wide: [...page.querySelectorAll("body *")].filter(element =>
      element.getBoundingClientRect().right > root.clientWidth + 0.5 &&
      !element.closest(".scroll, pre")).map(element => element.outerHTML.slice(0, 80)),
    rendering: getComputedStyle(page.querySelector(".pixels")).imageRendering,
  });
};
frame.srcdoc = PAGE;
</script>"""

VARIANTS = {
    "ten": {},
    "one": {
        "distilled_images": images(num_per_class=1, size=32, channels=3),
        "real_images": images(num_per_class=1, size=32, channels=3, seed=1),
        "labels": np.eye(3) - 1 / 3,
        "targets": "centred",
    },
    "hundred classes": {
        "class_names": [f"class_with_a_long_name_{i}" for i in range(100)],
        "distilled_images": images(100, 2),
        "real_images": images(100, 10),
        "labels": np.repeat(np.eye(100), 2, axis=0),
        "arms": [ARMS[0] | {"name": "a" * 80, "num_examples": 123_456_789}],
    },
}


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_browser_shows_every_picture_and_never_scrolls_sideways(
    tmp_path, variant, width
):
    text = report.render_report(make(**VARIANTS[variant]))
    quoted = json.dumps(text).replace("</", "<\\/").replace("<!--", "<\\!--")
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(
        WRAPPER.replace("WIDTH", str(width)).replace("PAGE", quoted), encoding="utf-8"
    )
    dom, log = browse(tmp_path, wrapper, "--virtual-time-budget=5000")
    measured = json.loads(html.unescape(re.findall(r"<pre>(.*?)</pre>", dom, re.S)[0]))
    assert len(measured["widths"]) == len(Outline(text).all("img"))
    assert min(measured["widths"]) > 0
    assert min(measured["shown"]) > 20
    assert measured["client"] == width
    assert measured["scroll"] == width
    assert measured["wide"] == []
    assert measured["rendering"] == "pixelated"
    assert "CONSOLE" not in log


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_has_nothing_to_complain_about(tmp_path):
    path = report.write_report(make(), tmp_path)
    dom, log = browse(tmp_path, path)
    assert "Toy in 30 examples" in dom
    assert "CONSOLE" not in log
    broken = path.with_name("broken.html")
    script = "<script>undefined_name()</script></body>"
    broken.write_text(path.read_text().replace("</body>", script))
    assert "CONSOLE" in browse(tmp_path, broken)[1]  # The log would have told.
