"""Root of the test suite: the plugin is tested with pytest's own `pytester`, laws with hypothesis.

The ordinary profile draws the same examples in every run, so that nobody's change fails by another one's bad luck; the
profile `deep` draws many more, and others every time.
"""

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile("ordinary", deadline=None, database=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("deep", deadline=None, max_examples=5000, suppress_health_check=_SLOW)
settings.load_profile("ordinary")
