"""The protocol of the spool, exhaustively: what holds, and that no rule can be left out. See `tests.model`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.model.explore import RULES, SCENARIOS, explore

#: For each rule the scenario that shows what it is for, and the property that breaks without it.
NEEDED = {
    "flock": ("the own segment gives way", "owner"),
    "lock-before-name": ("stopped holder of the lock", "owner"),
    "salt": ("stopped holder of the lock", "name"),
    "count-first": ("full queue, eviction", "lost"),
    "acknowledge-after-post": ("full queue, eviction", "lost"),
    "claim-by-rename": ("two writers, one sender, two crashes", "owner"),
    "look-at-mark": ("a purge", "consent"),
    "look-before-post": ("a purge", "consent"),
    "blank-what-was-counted": ("a purge", "lost"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_property_holds_in_every_world(name: str) -> None:
    """Whatever the order of operations and whoever dies: nothing lost, no cap broken, no segment with two owners."""
    found = explore(SCENARIOS[name])
    assert ("", []) == (found.violation, found.path)
    assert found.worlds > 30


def test_every_rule_has_a_scenario() -> None:
    """A rule that could be left out would not be one."""
    assert set(RULES) == set(NEEDED)


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_can_be_left_out(rule: str) -> None:
    """Without it the search finds a way to lose an event, to exceed the cap or to break a promise."""
    name, expected = NEEDED[rule]
    violation, _, _ = explore(replace(SCENARIOS[name], broken=rule)).violation.partition(":")
    assert expected == violation
