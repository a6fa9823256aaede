"""hypothesis strategies: payloads, events, whole runs, and what a model might say. Needs the extra ``hypothesis``.

_payloads  payloads of any kind, and single events; drawn from the table of the format itself
_runs      whole runs, valid by construction
_scripts   conversations for `ScriptedProvider` and the wire servers

What is drawn shrinks: fewer turns, fewer calls, shorter texts, smaller numbers.
"""

import importlib.util

from starling.errors import MissingExtraError

if importlib.util.find_spec("hypothesis") is None:
    raise MissingExtraError("pip install 'pytest-starling[hypothesis]'", extra="hypothesis")

from starling.testing.strategies._payloads import events, free_form, payloads
from starling.testing.strategies._runs import runs
from starling.testing.strategies._scripts import scripts

__all__ = ["events", "free_form", "payloads", "runs", "scripts"]
