"""What the import linter cannot say about the house."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted((ROOT / "pytest_starling").glob("*.py")), ids=lambda path: path.name)
def test_the_plugin_uses_public_packages_of_the_runtime_only(path):
    private = [
        name
        for name in imported_modules(path)
        if name.startswith("starling.")
        and any(part.startswith("_") and part != "__version__" for part in name.split("."))
    ]
    assert private == []


def test_importing_starling_brings_in_nothing_heavy():
    heavy = ["pydantic", "sqlite3", "psycopg", "asyncio", "openai", "httpx", "httpx2", "cbor2", "pytest"]
    code = f"import sys, starling; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module", ["starling.provider", "starling.tool", "starling.agent", "starling.step", "starling.testing"]
)
def test_no_package_imports_an_sdk_or_pytest(module):
    code = f"import sys, {module}; print([n for n in ('openai', 'httpx', 'httpx2', 'pytest', 'hypothesis') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
