"""The reference, made from the docstrings, and the recipes: `python -m tests.documentation DIRECTORY` writes the pages.

Fails, and says why, if the generator warns, a public name or parameter is not described, or a link leads nowhere.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import pkgutil
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pdoc
import pdoc.render
from pdoc.doc import Class, Function, Module

import producttelemetry
from producttelemetry import testing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


#: The page that shows the recipes.
RECIPES: Final = "recipes"


def public_modules() -> list[str]:
    """Return the package and those of its modules that users may import."""
    package = producttelemetry.__name__
    found = [module.name for module in pkgutil.iter_modules(producttelemetry.__path__)]
    return [package, *(f"{package}.{name}" for name in found if not name.startswith("_"))]


def build(directory: Path, modules: Iterable[str]) -> list[str]:
    """Write the pages of modules, and return what is wrong with them, a line each."""
    # Imported when asked for, which the generator does not do.
    producttelemetry.Stats = producttelemetry.Stats  # type: ignore[misc]
    testing.Collector = testing.Collector  # type: ignore[misc]
    # Generic for type checkers only, but the generator evaluates what is written for them.
    argparse._SubParsersAction.__class_getitem__ = classmethod(lambda cls, _: cls)  # type: ignore[attr-defined]
    pdoc.render.configure(docformat="google", footer_text=f"producttelemetry {producttelemetry.__version__}")
    modules = list(modules)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pdoc.pdoc(
            *(each for name in modules for each in (name, rf"!{re.escape(name)}\..*")), output_directory=directory
        )
        problems = [problem for name in modules for problem in undescribed(Module.from_name(name))]
    problems += [f"the generator warns: {warning.message}" for warning in caught]
    return sorted({*problems, *dead_links(directory)})


def write_recipes(directory: Path) -> str:
    """Write a module whose docstring shows the recipes as they stand; return its name."""
    parts = ["Programs to copy from, each for one framework. The tests run them as they stand here."]
    for path in sorted((Path(__file__).parent / "recipes").glob("[!_]*.py")):
        source = path.read_text()
        tree = ast.parse(source)
        code = "".join(source.splitlines(keepends=True)[tree.body[0].end_lineno :]).lstrip()
        parts.append(f"# {path.name}\n\n{ast.get_docstring(tree)}\n\n```python\n{code}```\n")
    text = "\n".join(parts)
    (directory / f"{RECIPES}.py").write_text(f"__doc__ = {text!r}\n")
    return RECIPES


def undescribed(owner: Module | Class) -> Iterator[str]:
    """Yield what a user can see and no docstring describes.

    A class describes its constructor's parameters and its attributes, a function its parameters: by name.
    """
    for member in owner.own_members:
        if member.name.startswith("_") and member.name != "__version__":
            continue
        if isinstance(owner, Class) and not isinstance(member, Class | Function):
            if not member.docstring and not _names(owner, member.name):
                yield f"{owner.fullname} does not describe {member.name!r}"
            continue
        if not member.docstring and not _names(owner, member.name):  # a module may describe what is no object
            yield f"{member.fullname} has no description"
        if isinstance(member, Class):
            yield from undescribed(member)
        if isinstance(member, Class | Function):
            for name in _parameters(member):
                if not _names(member, name):
                    yield f"{member.fullname} does not describe {name!r}"


def _names(described: Module | Class | Function, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", described.docstring) is not None


def _parameters(described: Class | Function) -> list[str]:
    try:
        parameters = inspect.signature(described.obj).parameters
    except ValueError:  # an exception, whose constructor is C
        return []
    return [name for name in parameters if not name.startswith("_") and name not in {"self", "cls", "args", "kwargs"}]


def dead_links(directory: Path) -> Iterator[str]:
    """Yield the links within the pages that lead nowhere, and names of classes that should be links and are not."""
    pages = {path: path.read_text() for path in directory.rglob("*.html")}
    for path, text in pages.items():
        for target in set(re.findall(r'href="([^":$]*)"', text)):
            name, _, anchor = target.partition("#")
            page = (path.parent / name).resolve() if name else path
            if page not in pages or (anchor and f'id="{anchor}"' not in pages[page]):
                yield f"{path.name}: {target} leads nowhere"
        # The generator makes a link of each name in backticks that it knows.
        yield from (
            f"{path.name}: there is no {name}" for name in re.findall(r"<code>((?:[A-Z][a-z]+){2,})</code>", text)
        )


def main() -> int:
    """Run as a program."""
    with tempfile.TemporaryDirectory() as made:
        sys.path.append(made)
        problems = build(Path(sys.argv[1]).resolve(), [*public_modules(), write_recipes(Path(made))])
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
