"""The reference is made of docstrings: what is missing there, or points nowhere, keeps it from being made."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from tests import documentation

if TYPE_CHECKING:
    import pytest

FAULTY = '''
"""A module that refers to a `MissingClass` and to [nothing](#nothing)."""

__all__ = ["Public", "missing", "undescribed"]


class Public:
    """A class whose parameter nobody describes."""

    described: int
    """A number."""
    other: int

    def __init__(self, number):
        pass

    def method(self, argument):
        """Return nothing."""

    def _private(self, whatever):
        pass


def undescribed():
    pass
'''


def test_a_module_that_lacks_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name or parameter without a word, a link and a name that lead nowhere, a warning of the generator."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    problems = documentation.build(tmp_path / "pages", ["faulty"])
    (warning,) = [problem for problem in problems if "the generator warns" in problem]
    assert "'missing'" in warning
    assert [
        "faulty.Public does not describe 'number'",
        "faulty.Public does not describe 'other'",
        "faulty.Public.method does not describe 'argument'",
        "faulty.html: #nothing leads nowhere",
        "faulty.html: there is no MissingClass",
        "faulty.missing has no description",
        "faulty.undescribed has no description",
    ] == [problem for problem in problems if problem != warning]


def test_every_public_module_is_in_it() -> None:
    """What users may import has a page; what begins with an underscore has none."""
    modules = documentation.public_modules()
    assert {"producttelemetry", "producttelemetry.cli", "producttelemetry.collector"} <= set(modules)
    assert [] == [name for name in modules if "._" in name]


def test_every_recipe_is_shown_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests run is what a reader copies."""
    monkeypatch.syspath_prepend(tmp_path)
    shown = importlib.import_module(documentation.write_recipes(tmp_path)).__doc__
    assert shown is not None
    recipes = [path for path in (Path(__file__).parent / "recipes").glob("*.py") if path.stem != "__init__"]
    assert len(recipes) >= 7
    for path in recipes:
        body = path.read_text().split('"""\n', 1)[1]
        assert f"```python\n{body.lstrip()}```" in shown, path.name
