"""`python -m tests.model [--break RULE]`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from .explore import RULES, SCENARIOS, describe, explore


def main() -> int:
    """Explore every scenario; exit status 1 if a property does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description="Check the spool's protocol.")
    listed = "; ".join(f"{rule}: {without}" for rule, without in RULES.items())
    parser.add_argument("--break", dest="rule", choices=RULES, default="", help=f"leave a rule out. {listed}")
    rule: str = parser.parse_args().rule
    violated = False
    for name, scenario in SCENARIOS.items():
        found = explore(replace(scenario, broken=rule))
        print(f"{name}: {found.worlds} worlds, {found.violation or 'every property holds'}", flush=True)
        for world in found.path:
            print("   ", describe(world))
        violated = violated or bool(found.violation)
    return int(violated)


if __name__ == "__main__":
    sys.exit(main())
