"""The spool's protocol as an exhaustive model: every interleaving and every crash point of a small world.

Change a step here first, and in the code when this still holds::

    python -m tests.model                # the worlds, about a minute
    python -m tests.model --break RULE   # the same with one rule left out; shows how that goes wrong

The unit of atomicity is one file operation: write of a line, create, rename, unlink, lock. A process may die, or be
passed over for as long as it likes, between any two. Each process is a state machine without a stack: `step` names its
next operation, and taking it leads to one world or several.

| module | what lives there |
|---|---|
| `world` | the values: segments, processes, what became of the events; the scenario |
| `writer`, `sender`, `purger` | the steps of each kind of process, named as in `producttelemetry._spool` |
| `explore` | breadth-first search, the properties that hold in every state, the rules that can be left out |

What is simplified: names carry no offset, for an event that is done with just leaves the segment; the look at the
claimed segment before a request and the request itself are one operation, for a request on the wire may end; so are
creating a `tmp` and locking it, for nobody but who tidies up looks at one, and its maker finds out; a look at the
directory shows every name once, which a real one does only under `lock`; a torn line and a disk that fails are left to
the simulated disk (`tests.simulated_disk`).
"""
