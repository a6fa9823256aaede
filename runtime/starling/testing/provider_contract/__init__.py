"""The contract of a provider, as checks that every adapter passes; for an adapter of your own as well.

Each check is an async function that takes a factory and asserts one promise of `starling.provider.Provider`. The
factory gives, for the duration of a block, a provider whose vendor says what a `starling.testing.Script` says: a local
`starling.testing.WireServer` as a rule. With pytest::

    @asynccontextmanager
    async def acme(script):
        with WireServer(script, AcmeWire()) as server:
            async with Acme(base_url=server.url, api_key="none") as provider:
                sent = lambda: [request.body for request in server.requests]
                yield Subject(provider=provider, disconnected=server.disconnected, sent=sent)

    @pytest.mark.parametrize("check", provider_contract.CHECKS, ids=lambda check: check.__name__)
    async def test_contract(check):
        await check(acme)

What `capabilities()` says is missing is not checked. A broken promise raises `AssertionError` with a sentence that says
which. Nothing here needs pytest.
"""

from __future__ import annotations

from starling.testing.provider_contract._answers import (
    chunks_come_in_order,
    is_a_provider,
    raw_hashes_follow_the_answer,
    reasoning_arrives,
    request_ids_are_given,
    signatures_arrive,
    stop_sequences_are_sent,
    text_arrives_whole,
    token_counts_arrive,
    tool_arguments_arrive_piece_by_piece,
    tool_calls_arrive,
    tool_choices_are_sent,
    tool_ids_are_stable,
    tool_results_are_given_back,
)
from starling.testing.provider_contract._failing import (
    a_failure_is_one_request,
    answers_do_not_mix,
    cancelling_ends_the_call,
    closing_the_iterator_ends_the_call,
    errors_in_the_stream_are_raised,
    failures_are_classed,
    half_an_answer_is_an_error,
    refuses_while_replaying,
    serves_several_event_loops,
)
from starling.testing.provider_contract._subject import MODEL, Check, Factory, Subject

__all__ = ["CHECKS", "MODEL", "Check", "Factory", "Subject"]

CHECKS: tuple[Check, ...] = (
    is_a_provider,
    text_arrives_whole,
    chunks_come_in_order,
    tool_calls_arrive,
    tool_arguments_arrive_piece_by_piece,
    tool_ids_are_stable,
    tool_results_are_given_back,
    tool_choices_are_sent,
    stop_sequences_are_sent,
    token_counts_arrive,
    reasoning_arrives,
    signatures_arrive,
    request_ids_are_given,
    raw_hashes_follow_the_answer,
    failures_are_classed,
    a_failure_is_one_request,
    errors_in_the_stream_are_raised,
    half_an_answer_is_an_error,
    cancelling_ends_the_call,
    closing_the_iterator_ends_the_call,
    answers_do_not_mix,
    serves_several_event_loops,
    refuses_while_replaying,
)
"""What every provider promises; parts of it only if `capabilities()` says so."""
