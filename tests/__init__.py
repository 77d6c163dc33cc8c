"""The tests. A package, so that children can run `python -m tests.children`."""
