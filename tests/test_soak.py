"""A short soak; `python -m tests.soak` is the long one."""

from __future__ import annotations

import random

from tests.soak import soak


def test_processes_killed_at_random_instants_lose_nothing() -> None:
    """Writers and senders of one spool, killed one after the other, a full queue and a server that fails among it."""
    seed = random.randrange(2**32)
    print("seed", seed)  # shown when the test fails
    *_, result = soak(30, seed)
    assert 30 == result.kills
    assert result.accepted == result.delivered + result.counted
    assert result.delivered > 100
