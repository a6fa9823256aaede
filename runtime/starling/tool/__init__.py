"""Tools: what a model may ask an agent to do.

* `Tool`: the protocol, which anything may implement; `call_policy` reads its optional attributes.
* `tool`: makes one from a typed function. Signature (`_signature`) → pydantic model and JSON Schema (`_arguments`,
  `_schema`) → checked call, in a thread of ours if the function is sync (`_threads`) → plain data (`_plain`).
* `wrap`: middleware around a tool.
* `starling.tool.builtin`: `fetch` and `read_file`, ready to use and good to copy from.

Dispatching, retrying, timing out and recording calls is `starling.step`'s work.
"""

from starling._callable_module import make_callable
from starling.errors import ToolError, TransientToolError
from starling.tool._arguments import reject_malformed
from starling.tool._function import FunctionTool, call_policy, tool
from starling.tool._plain import to_plain
from starling.tool._policy import Backoff, CallPolicy, default_backoff
from starling.tool._protocol import Execute, Middleware, Tool
from starling.tool._threads import run_in_thread
from starling.tool._wrap import wrap

__all__ = [
    "Backoff",
    "CallPolicy",
    "Execute",
    "FunctionTool",
    "Middleware",
    "Tool",
    "ToolError",
    "TransientToolError",
    "call_policy",
    "default_backoff",
    "reject_malformed",
    "run_in_thread",
    "to_plain",
    "tool",
    "wrap",
]

make_callable(__name__)
