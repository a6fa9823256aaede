"""Every single change of the code is found at the first event that it can touch; what surroundings change is not."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings

from starling.errors import NondeterminismError
from starling.event import validate
from starling.replay import replay
from tests.properties.mutations import mutations
from tests.properties.reading import Reading
from tests.properties.run import Process
from tests.properties.strategies import programs, seeds
from tests.properties.surroundings import SURROUNDINGS, rebuilt
from tests.properties.test_any_program import RUN_ID, copy_of, live


async def replayed(program, events, seed):
    process = Process(program, seed, live=False)
    return await process.do(replay(await copy_of(events), RUN_ID, process.agent()))


@pytest.mark.parametrize("change", SURROUNDINGS, ids=lambda change: change.__name__)
@given(program=programs(), seed=seeds)
def test_what_the_surroundings_decided_may_differ(change, program, seed):
    async def check():
        _ran, events = await live(program, seed)
        if not events:
            return
        changed = change([event.decode() for event in events], program, random.Random(seed))
        other = rebuilt(changed, RUN_ID)
        validate(other)
        again = await replayed(program, other, seed + 1)
        if again.error:
            raise again.error

    asyncio.run(check())


@settings(max_examples=max(20, settings.default.max_examples // 4))
@given(program=programs(), seed=seeds)
def test_each_change_of_the_code_is_found_where_it_first_shows(program, seed):
    async def check():
        _ran, events = await live(program, seed)
        if not events:
            return
        for mutation in mutations(program, Reading(events)):
            again = await replayed(mutation.program, events, seed + 1)
            if mutation.seqs:
                assert isinstance(again.error, NondeterminismError), f"{mutation.what} was not found"
                assert again.error.divergence.seq in mutation.seqs, mutation.what
            else:
                assert not isinstance(again.error, NondeterminismError), mutation.what

    asyncio.run(check())
