"""A tool and its own tests, as a developer has them: `tests/test_testing_plugin.py` runs them with the plugin."""
