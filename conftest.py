"""Root of the test suite: the plugin is tested with pytest's own `pytester`, laws with hypothesis.

The ordinary profile draws the same examples in every run, so that nobody's change fails by another one's bad luck; the
profile `deep` draws many more, and others every time.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester", "tests.postgres_kit"]

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile("ordinary", deadline=None, database=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("deep", deadline=None, max_examples=5000, suppress_health_check=_SLOW)
settings.load_profile("ordinary")


@pytest.fixture(scope="session", autouse=True)
def no_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each HTTP client would load the machine's certificates, which takes 35 ms; no test meets who they vouch for."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("authorities")))
        environment.delenv("SSL_CERT_FILE", raising=False)
        yield
