"""`read_file`: what it reads, and every way out of the directory that it refuses."""

import errno
import os
from pathlib import Path

import pytest

from starling import ambient
from starling.errors import ToolError
from starling.tool.builtin import _read_file, read_file

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")


@pytest.fixture
def base(tmp_path):
    base = tmp_path / "base"
    (base / "sub").mkdir(parents=True)
    (base / "a.txt").write_text("alpha\n", encoding="utf-8")
    (base / "sub" / "ü.txt").write_bytes("\ufeffgrüße\r\n".encode())
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (tmp_path / "base-other").mkdir()
    (tmp_path / "base-other" / "x.txt").write_text("secret", encoding="utf-8")
    return base


@pytest.fixture(params=["openat", "compare"])
def every_way(request, monkeypatch):
    """Both ways to open without a race; the second one is what Windows uses."""
    if request.param == "openat" and not _read_file._OPEN_RELATIVE:
        pytest.skip("this platform cannot open relative to a descriptor")
    monkeypatch.setattr(_read_file, "_OPEN_RELATIVE", request.param == "openat")


async def read(base, path):
    return await read_file(base).execute({"path": path})


def test_it_is_a_described_idempotent_tool(base):
    tool = read_file(base)
    assert tool.name == "read_file"
    assert "relative" in tool.description
    assert str(base) not in tool.description + tool.schema
    assert tool.idempotent


@pytest.mark.usefixtures("every_way")
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.txt", "alpha\n"),
        ("./a.txt", "alpha\n"),
        ("sub//ü.txt", "\ufeffgrüße\r\n"),
        ("sub/./ü.txt", "\ufeffgrüße\r\n"),
    ],
)
async def test_text_is_read_as_it_is(base, path, text):
    assert await read(base, path) == text


@pytest.mark.usefixtures("every_way")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "it is not a path"),
        ("a\0b", "it is not a path"),
        ("/etc/passwd", "it must be relative"),
        ("\\x", "it must be relative"),
        ("C:\\x", "it must be relative"),
        ("C:x", "it must be relative"),
        ("//host/share", "it must be relative"),
        ("..", "must not contain"),
        ("../secret.txt", "must not contain"),
        ("sub/../a.txt", "must not contain"),
        ("sub\\..\\..\\secret.txt", "must not contain"),
        ("../base-other/x.txt", "must not contain"),
        ("none.txt", "there is no such file"),
        ("a.txt/b", "there is no such file"),
        (".", "it is not a regular file"),
        ("sub", "it is not a regular file"),
        ("x" * 5000, "the path is too long"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_the_reason(base, path, reason):
    with pytest.raises(ToolError, match=reason) as caught:
        await read(base, path)
    assert str(caught.value).startswith(f'cannot read "{path}": ')
    assert str(base) not in str(caught.value)


@posix
@pytest.mark.usefixtures("every_way")
@pytest.mark.parametrize(
    ("target", "path"),
    [("../secret.txt", "link"), ("..", "link/secret.txt"), ("/etc/hostname", "link"), ("../base-other/x.txt", "link")],
)
async def test_a_link_that_leads_out_is_refused(base, target, path):
    (base / "link").symlink_to(target)
    with pytest.raises(ToolError, match=r"it leads out of the directory|there is no such file"):
        await read(base, path)


@posix
@pytest.mark.usefixtures("every_way")
async def test_a_link_that_stays_inside_is_followed(base):
    (base / "link").symlink_to("sub")
    (base / "sub" / "up").symlink_to("../a.txt")
    assert await read(base, "link/up") == "alpha\n"


@posix
@pytest.mark.usefixtures("every_way")
async def test_the_directory_itself_may_be_a_link(base, tmp_path):
    (tmp_path / "alias").symlink_to(base)
    assert await read(tmp_path / "alias", "a.txt") == "alpha\n"


@posix
@pytest.mark.usefixtures("every_way")
async def test_links_in_a_circle_are_refused(base):
    (base / "one").symlink_to("two")
    (base / "two").symlink_to("one")
    with pytest.raises(ToolError, match="a link that leads nowhere"):
        await read(base, "one")


@posix
@pytest.mark.usefixtures("every_way")
async def test_pipes_and_devices_are_refused_and_not_waited_for(base):
    os.mkfifo(base / "pipe")
    with pytest.raises(ToolError, match="it is not a regular file"):
        await read(base, "pipe")


@pytest.mark.skipif(not _read_file._OPEN_RELATIVE, reason="needs openat")
@pytest.mark.parametrize("swapped", ["sub", "sub/ü.txt"])
async def test_a_part_that_is_swapped_for_a_link_after_the_check_is_not_followed(base, tmp_path, monkeypatch, swapped):
    (tmp_path / "ü.txt").write_text("secret", encoding="utf-8")
    open_below = _read_file._open_below

    def swap_then_open(*args):
        (base / swapped).rename(base / "moved")
        (base / swapped).symlink_to(tmp_path if swapped == "sub" else tmp_path / "ü.txt")
        return open_below(*args)

    monkeypatch.setattr(_read_file, "_open_below", swap_then_open)
    with pytest.raises(ToolError, match=r"changed while it was opened|there is no such file"):
        await read(base, "sub/ü.txt")


@pytest.mark.skipif(not _read_file._OPEN_RELATIVE, reason="needs openat")
async def test_a_pipe_that_takes_the_files_place_is_not_waited_for(base, monkeypatch):
    open_below = _read_file._open_below

    def swap_then_open(*args):
        (base / "a.txt").unlink()
        os.mkfifo(base / "a.txt")
        return open_below(*args)

    monkeypatch.setattr(_read_file, "_open_below", swap_then_open)
    with pytest.raises(ToolError, match="it is not a regular file"):
        await read(base, "a.txt")


@posix
async def test_where_openat_is_missing_a_swapped_file_is_noticed(base, tmp_path, monkeypatch):
    monkeypatch.setattr(_read_file, "_OPEN_RELATIVE", False)
    open_and_compare = _read_file._open_and_compare

    def swap_then_open(file):
        file.unlink()
        file.symlink_to(tmp_path / "secret.txt")
        return open_and_compare(file)

    monkeypatch.setattr(_read_file, "_open_and_compare", swap_then_open)
    with pytest.raises(ToolError, match="changed while it was opened"):
        await read(base, "a.txt")


def open_descriptors():
    return len(list(Path("/dev/fd").iterdir()))


@posix
async def test_no_descriptor_is_left_open(base):
    (base / "link").symlink_to("../secret.txt")
    before = open_descriptors()
    for path in ["sub/ü.txt", "sub", "none", "link"] * 5:
        try:
            await read(base, path)
        except ToolError:
            continue
    assert open_descriptors() == before


@pytest.mark.parametrize(("size", "fits"), [(1024 * 1024, True), (1024 * 1024 + 1, False)])
async def test_the_cap_is_exact(base, size, fits):
    (base / "big").write_bytes(b"x" * size)
    if fits:
        assert len(await read(base, "big")) == size
    else:
        with pytest.raises(ToolError, match="it is larger than 1048576 bytes"):
            await read(base, "big")


async def test_what_is_not_utf8_is_refused(base):
    (base / "image").write_bytes(b"ab\xff\xfe")
    with pytest.raises(ToolError, match=r"it is not UTF-8 text \(byte 2\)"):
        await read(base, "image")


async def test_what_may_not_be_read_is_refused(base, monkeypatch):
    # Not by chmod: the super-user of a container may read everything.
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(_read_file, "_open_below", refuse)
    monkeypatch.setattr(_read_file, "_open_and_compare", refuse)
    with pytest.raises(ToolError, match="it may not be read"):
        await read(base, "a.txt")


async def test_reading_is_one_recorded_effect_and_replays_without_the_directory(base, monkeypatch):
    effects = []

    async def effect(name, function):
        effects.append(name)
        return "recorded"

    tool = read_file(base / "does" / "not" / "exist")
    with pytest.raises(ToolError, match="there is no such file"):
        await tool.execute({"path": "a.txt"})
    monkeypatch.setattr(ambient, "_effects", effect)
    assert await tool.execute({"path": "a.txt"}) == "recorded"
    assert effects == ["read_file a.txt"]


async def test_a_path_that_leads_out_by_its_text_is_refused_before_any_effect(base, monkeypatch):
    async def effect(name, function):
        raise AssertionError("a refusal is no effect")

    monkeypatch.setattr(ambient, "_effects", effect)
    with pytest.raises(ToolError, match="must not contain"):
        await read(base, "../secret.txt")


async def test_a_relative_directory_is_the_one_of_the_moment_it_was_given(base, monkeypatch, tmp_path):
    monkeypatch.chdir(base.parent)
    tool = read_file(Path("base"))
    monkeypatch.chdir(tmp_path.parent)
    assert await tool.execute({"path": "a.txt"}) == "alpha\n"
