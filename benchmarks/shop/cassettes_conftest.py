"""vcrpy as its documentation advises: no key is kept, and the cassettes are in the faster of its two formats."""

import os

import pytest

DEFAULT = ["method", "scheme", "host", "port", "path", "query"]


@pytest.fixture(scope="session")
def vcr_config():
    match_on = [*DEFAULT, *os.environ["MATCH_ALSO"].split()]
    return {"serializer": "json", "filter_headers": ["authorization"], "match_on": match_on}
