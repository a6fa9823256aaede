"""The pages under docs/ whose examples are one program each: they run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages():
    return [page for page in sorted(DOCS.glob("*.md")) if BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page, tmp_path):
    program = tmp_path / "page.py"
    program.write_text("\n\n".join(BLOCK.findall(page.read_text())))

    ran = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


def test_there_are_pages_with_examples():
    assert "replay.md" in [page.name for page in pages()]
