"""A divergence → the text that a person reads. Pure; the pytest plugin and the command line show it.

_explain    all of it: headline, sentence, fields, surroundings, what to do
_sentences  what happened, in one sentence
_text_diff  two long texts → the lines that differ
_timeline   a recorded run around one event; an event in a few words
_hints      what seems to have leaked in, and what to use instead
_values     values → short text; how much is shown
"""

from starling.explain._explain import explain, headline
from starling.explain._timeline import brief, tool_names
from starling.explain._values import FULL, SHORT, Limits, printable

__all__ = ["FULL", "SHORT", "Limits", "brief", "explain", "headline", "printable", "tool_names"]
