"""Two tests that come to one file where only ``golden_run_dir`` knows the place, told across processes.

Claims are known to one process. What workers of xdist share is the collection and the disk: a file that was recorded
for another collected test, which may keep its recording there, is that test's. Asked again while the new recording is
held as the one temporary of that file, so that of two who record at once the second finds what the first has put there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_starling._session import key
from pytest_starling._state import GOLDEN

if TYPE_CHECKING:
    from pytest_starling._session import GoldenItem

__all__ = ["owner_by", "owner_on_disk"]


def owner_on_disk(golden: GoldenItem) -> str:
    """The other test whose recording stands in the file of this one; empty if there is none. See `owner_by`."""
    from starling.errors import StarlingError
    from starling.replay import read_fixture

    if not golden.movable or not golden.path.exists():
        return ""
    try:
        return owner_by(golden, read_fixture(golden.path).test_id)
    except StarlingError:
        return ""  # what nobody can read is nobody's


def owner_by(golden: GoldenItem, test_id: str) -> str:
    """The test for which this one's file was recorded, if it is another one that was collected and may keep it there.

    A test that was renamed is not collected any more; one that moved has claimed another file, or will.
    """
    if not golden.movable or test_id == golden.name.text or not _may_keep_it(golden, test_id):
        return ""
    return test_id


def _may_keep_it(golden: GoldenItem, test_id: str) -> bool:
    state = golden.item.config.stash[GOLDEN]
    here = key(golden.path)
    if test_id in state.claimed.values():
        return state.claimed.get(here) == test_id
    places = {**state.unselected, **{one.name.text: (one.path, one.movable) for one in state.items}}
    if test_id not in places:
        return False
    path, tail = places[test_id]
    return f"/{here}".endswith(f"/{tail.casefold()}") if tail else key(path) == here
