# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Options of the named methods: explained, checked once, and as the docs say."""

import ast
import inspect
import pathlib
import re

import pytest

import distill_jax as dj
from distill_jax import base, errors, methods
from distill_jax.methods import options

ROOT = pathlib.Path(__file__).parents[2]
ENTRY = re.compile(r"^  (\w+): (.*(?:\n    .*)*)", re.MULTILINE)
TOO_MUCH = {
    options.check_positive: (0.0, -1.0, float("nan")),
    errors.check_counts: (0, -1, 1.5),
    options.check_momentum: (1.0, -0.1, float("nan")),
}
SHARES = (1.1, -0.1, float("nan"))


@pytest.fixture(scope="module")
def task():
    spec = dj.data.load("digits").spec
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)


def parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(methods.NAMES[name]).parameters)


def meanings(name: str) -> dict[str, str]:
    """The entries of `Args` in a docstring, each in one line."""
    text = methods.NAMES[name].__doc__.split("\nArgs:\n")[1].split("\n\n")[0]
    return {option: " ".join(said.split()) for option, said in ENTRY.findall(text)}


@pytest.mark.parametrize("name", methods.NAMES)
def test_help_explains_every_option_with_its_default(name):
    said = meanings(name)
    assert list(said) == list(parameters(name))
    for option, parameter in parameters(name).items():
        meaning, _, default = said[option].partition(" Default: ")
        assert len(meaning.split()) >= 4, option
        assert meaning.endswith("."), option
        assert "see :func:" not in meaning.lower(), option
        if parameter.default is None:  # What stands in for it is part of the meaning.
            assert re.search(r"by default|\bNone\b", meaning), option
        elif parameter.default is not parameter.empty:
            assert ast.literal_eval(default.strip("`.")) == parameter.default, option
            assert "by default" not in meaning, option


@pytest.mark.parametrize("name", methods.NAMES)
def test_help_says_what_is_returned_raised_and_cited(name):
    doc = methods.NAMES[name].__doc__
    for section in ("Args", "Returns", "Raises", "Example", "Reference"):
        assert doc.count(f"\n{section}:\n  ") == 1, section
    assert max(map(len, doc.splitlines())) <= 88


def test_options_are_where_inspect_and_python_look_for_them():
    assert parameters("dsac")["warm_up"].default == (250, 10)
    assert methods.dsac.__name__ == "dsac"
    assert methods.dsac.__module__ == "distill_jax.methods.gradient"
    with pytest.raises(TypeError, match=r"dsac\(\) got an unexpected keyword"):
        methods.dsac(None, num_per_class=1, warm=1)


@pytest.mark.parametrize("name", methods.NAMES)
def test_shared_options_are_checked_by_every_method_that_has_them(name, task):
    for option in parameters(name).keys() & options.OPTIONS.keys():
        check = options.OPTIONS[option].check
        if check is None:
            continue
        for value in TOO_MUCH.get(check, SHARES):
            with pytest.raises(errors.InputError, match=f"`{option}` .*, got {value}"):
                methods.NAMES[name](task, **{"num_per_class": 1, option: value})


def test_own_options_are_checked_in_the_body(task):
    for name, option, value in (
        ("idc", "num_train_examples", 0),
        ("rcig", "temperature_learning_rate", 0.0),
        ("auto", "unrolled_rate", 0.0),
        ("datm", "label_momentum", 1.0),
        ("label_ridge", "initial_temperature", 0.0),
    ):
        more = {"num_steps": 2} if name == "auto" else {}
        with pytest.raises(errors.InputError, match=f"`{option}` must be"):
            methods.NAMES[name](task, num_per_class=1, **more, **{option: value})


def test_an_option_without_a_meaning_is_refused():
    def method(task: base.Task, *, novel: int = 1) -> base.Recipe:
        """Has an option that nobody knows."""
        raise NotImplementedError

    with pytest.raises(TypeError, match="`method` has an option `novel` that neither"):
        options.named_method(method)


def test_a_meaning_without_an_option_is_refused():
    def method(task: base.Task) -> base.Recipe:
        """Lacks an option.

        Args:
          former: that it had.
        """
        raise NotImplementedError

    with pytest.raises(TypeError, match="`method` explains `former`, which it lacks"):
        options.named_method(method)


def test_a_variant_takes_meanings_of_its_origin_before_those_of_the_table(task):
    @options.named_method
    def origin(task: base.Task, *, momentum: float = 0.5) -> base.Recipe:
        """Descends.

        Args:
          momentum: of all that is learned.

        Raises:
          InputError: when it must.
        """
        raise NotImplementedError

    @options.variant_of(origin)
    def variant(
        task: base.Task, *, momentum: float = 0.9, factor: int = 1
    ) -> base.Recipe:
        """Descends faster.

        Args:
          factor: how much faster.
        """
        raise NotImplementedError

    assert "  momentum: of all that is learned. Default: 0.9.\n" in variant.__doc__
    assert "  factor: how much faster. Default: 1.\n" in variant.__doc__
    assert "  InputError: when it must.\n" in variant.__doc__
    assert options.OPTIONS["task"].meaning.split(";")[0] in variant.__doc__
    with pytest.raises(errors.InputError, match="`momentum`"):
        variant(task, momentum=1.5)


def test_warnings_about_published_settings_point_at_the_line_of_the_user(task):
    with pytest.warns(UserWarning, match="No loops were published") as caught:
        methods.dsa(task, num_per_class=7)
    assert [warning.filename for warning in caught] == [__file__]


def option_tables() -> dict[str, list[list[str]]]:
    """The rows of the table of options of every section of the page on methods."""
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    tables = {}
    for section in page.split("\n## ")[1:]:
        _, found, rest = section.partition("\n| option | default | |\n")
        if found:
            rows = rest.split("\n\n")[0].splitlines()[1:]
            tables[section.split(":")[0]] = [
                [cell.strip() for cell in row.strip("|").split("|")] for row in rows
            ]
    return tables


def of_section(title: str) -> list[str]:
    """Names of methods in a headline such as "BPTT and RaT-BPTT"."""
    return re.sub("-", "_", title.lower()).replace(" and ", ", ").split(", ")


def quoted(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


@pytest.mark.parametrize("title", option_tables())
def test_the_table_of_options_of_the_docs_is_complete(title):
    table = option_tables()[title]
    shown = [name for row in table for name in quoted(row[0])]
    had = {name for method in of_section(title) for name in parameters(method)}
    assert len(shown) == len(set(shown))
    assert set(shown) <= had
    if table[-1][0] == "all others":
        other = table[-1][2].removeprefix("as for ")
        shown += [name for row in option_tables()[other] for name in quoted(row[0])]
    assert had - {"task"} <= set(shown)


@pytest.mark.parametrize("title", option_tables())
def test_the_table_of_options_of_the_docs_has_the_defaults(title):
    num_compared = 0
    for row in option_tables()[title]:
        names, defaults = quoted(row[0]), re.split(r", (?![^(]*\))", row[1])
        if len(names) != len(defaults):
            continue
        for name, default in zip(names, defaults, strict=True):
            options_of = [parameters(method) for method in of_section(title)]
            had = [known[name].default for known in options_of if name in known]
            try:
                value = ast.literal_eval(default.strip("`"))
            except (SyntaxError, ValueError):
                continue  # In words.
            if set(had) != {None}:  # Else the cell says what stands in for it.
                assert value in had, name
                num_compared += 1
    assert num_compared >= 3


def test_every_method_but_the_recommended_one_has_its_table_of_options():
    found = {name for title in option_tables() for name in of_section(title)}
    assert found == methods.NAMES.keys() - {"auto"}  # That is a page of its own.


def test_only_named_methods_have_more_than_ten_arguments():
    for path in (ROOT / "distill_jax" / "methods").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name not in methods.NAMES:
                count = len(node.args.args) + len(node.args.kwonlyargs)
                assert count <= 10, f"{path.name}: {node.name}"
