"""Cassettes as providers: what vcrpy recorded of a vendor's HTTP answers, given to an agent as its model's answers.

_file          a cassette's model calls, read with vcrpy's own loader (extra ``vcrpy``)
_conversation  what a model was asked, as text: recorded request bodies and today's requests alike (pure)
_answer        a recorded HTTP answer → chunks, or the error that it was live (pure)
_anthropic     Anthropic's message given as a whole → the events of a stream of it (pure)
_cassette      which answer belongs to which request; what stands in for an agent's provider

OpenAI's chat completions and Anthropic's messages are understood, from whichever client they were recorded. Importing
this package imports neither vcrpy nor an SDK.
"""

from starling.errors import CassetteError
from starling.provider.cassette._cassette import Cassette

__all__ = ["Cassette", "CassetteError"]
