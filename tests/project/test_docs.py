"""The pages under docs/: where their examples are one program, it runs; where they are a project, pytest runs on it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests import forked

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECORD = re.compile(r"^<!-- record with: (\S+) -->$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+\.md)\)")


def pages():
    return [page for page in every_page() if BLOCK.search(page.read_text()) and not FILE.search(page.read_text())]


def projects():
    return [page for page in every_page() if FILE.search(page.read_text())]


def every_page():
    return sorted(DOCS.rglob("*.md"))


def named(page):
    return page.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("page", pages(), ids=named)
def test_the_examples_of_a_page_run(page, tmp_path):
    program = tmp_path / "page.py"
    program.write_text("\n\n".join(BLOCK.findall(page.read_text())))

    # In CI hypothesis takes its time: a loaded machine is no failure.
    environment = {**os.environ, "CI": "true"}
    ran = forked.run([sys.executable, program], cwd=tmp_path, env=environment)

    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("page", projects(), ids=named)
def test_the_project_of_a_page_records_and_replays(page, tmp_path):
    for name, text in FILE.findall(page.read_text()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")

    for arguments in (RECORD.findall(page.read_text()) or ["--record-golden"], []):
        ran = run_pytest(tmp_path, *arguments)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def run_pytest(project, *arguments):
    keyless = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANTHROPIC_", "OPENAI_", "OPENROUTER_", "CI", "PYTEST_"))
    }
    return forked.run([sys.executable, "-m", "pytest", *arguments], cwd=project, env=keyless)


@pytest.mark.parametrize("page", every_page(), ids=named)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).is_file(), target


def test_there_are_pages_of_each_sort():
    assert "replay.md" in [page.name for page in pages()]
    assert "first-test.md" in [page.name for page in projects()]


def test_every_option_is_documented():
    from pytest_starling._options import add_options

    class Words(list):
        def getgroup(self, *_):
            return self

        def addoption(self, name, **_):
            self.append(name)

        def addini(self, name, *_, **__):
            self.append(name)

    words = Words()
    add_options(words)
    page = (DOCS / "options.md").read_text()

    assert len(words) > 20
    assert [word for word in words if word not in page] == []


def test_the_readme_leads_to_every_page():
    readme = (DOCS.parent / "README.md").read_text()

    assert [named(page) for page in every_page() if f"docs/{named(page)}" not in readme] == []
