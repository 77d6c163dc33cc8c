"""Run the questions in order, print their tables, write one JSON file.

python -m benchmarks [QUESTION ...] [--quick] [--json FILE] [--directory DIR]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

from ._environment import describe
from ._harness import Settings
from ._tables import as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._tables import Answer

#: The modules of this package that answer a question, in the order in which they run.
QUESTIONS: Final = ("track", "processes", "startup", "leaving", "draining", "growth", "idle", "full")

#: Load average per core above which others disturb.
_CALM: Final = 0.3


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(dir=options.directory) as workspace:
        environment = describe(workspace)
    print("\n".join(f"{name}: {value}" for name, value in environment.items() if name != "packages"))
    if environment["load_before"] > _CALM * environment["cores"]:
        print("warning: this machine is busy, so figures scatter; look at the load above", file=sys.stderr)
    results: dict[str, Any] = {"environment": environment, "quick": options.quick, "questions": {}}
    for name in options.questions or QUESTIONS:
        started = time.monotonic()
        answer = _ask(name, options)
        seconds = round(time.monotonic() - started, 1)
        results["questions"][name] = {**answer.to_json(), "seconds": seconds}
        print(f"  {seconds} s", flush=True)
        if options.json:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump(results, file, indent=1, ensure_ascii=False)
                file.write("\n")


def _ask(name: str, options: argparse.Namespace) -> Answer:
    module = importlib.import_module(f"{__package__}.{name}")
    os.sync()  # what was written before does not get in the way
    with tempfile.TemporaryDirectory(dir=options.directory) as workspace:
        answer: Answer = module.run(Settings(options.quick, workspace))
    print(f"\n== {name}: {answer.title}")
    for table in answer.tables.values():
        print(f"\n{as_text(table)}")
    return answer


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure; judge nothing.")
    parser.add_argument(
        "questions", nargs="*", metavar="QUESTION", help=f"{', '.join(QUESTIONS)}; all, if none is given"
    )
    parser.add_argument("--quick", action="store_true", help="a rough answer in less than three minutes")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, after each question")
    parser.add_argument("--directory", metavar="DIR", help="where to write; a real file system, not one in memory")
    options = parser.parse_args(arguments)
    unknown = set(options.questions) - set(QUESTIONS)
    if unknown:
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
