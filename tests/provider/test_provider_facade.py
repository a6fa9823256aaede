"""The package's exports, and what importing it costs."""

import subprocess
import sys

import pytest

import starling.provider


def test_every_export_exists_and_is_sorted():
    names = starling.provider.__all__
    assert names == sorted(names)
    assert all(hasattr(starling.provider, name) for name in names)


@pytest.mark.parametrize("module", ["starling.provider", "starling.provider.openai"])
def test_importing_it_brings_in_no_sdk(module):
    code = f"import sys, {module}; print([m for m in ('openai', 'httpx', 'httpx2', 'pydantic', 'sqlite3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
