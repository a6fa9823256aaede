"""Root of the test suite: the plugin is tested with pytest's own `pytester`."""

pytest_plugins = ["pytester"]
