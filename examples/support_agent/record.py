"""Record the golden runs of the support agent again, without a key: the model is a script on a local server.

The agent talks to it through the official OpenAI SDK, over a socket, streaming, as it would talk to OpenAI. With a key
of your own, ``OPENAI_API_KEY=… pytest --record-golden examples`` records the real model instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from starling.testing import OpenAIServer, Script

HERE = Path(__file__).parent


def model() -> Script:
    """What the model says, one turn after another, in the order of the tests."""
    return (
        Script()
        # test_refund
        .text("Let me look at your order.")
        .tool_call("lookup_order", {"order_id": "A-1007"})
        .tool_call("lookup_customer", {"customer_id": "c-42"})
        .tool_call("refund_policy", {})
        .usage(input_tokens=412, output_tokens=61)
        .turn()
        .tool_call("refund", {"order_id": "A-1007", "amount_cents": 4990})
        .usage(input_tokens=530, output_tokens=24)
        .turn()
        .text(
            "Sorry for the trouble, Ada: you were charged twice. The second charge of 49.90 is on its way back to you."
        )
        .usage(input_tokens=601, output_tokens=33)
        .turn()
        # test_late_refund_is_declined
        .tool_call("lookup_order", {"order_id": "A-1011"})
        .tool_call("refund_policy", {})
        .usage(input_tokens=415, output_tokens=40)
        .turn()
        .text("Order A-1011 was delivered more than 180 days ago, so I cannot refund it.")
        .usage(input_tokens=509, output_tokens=27)
        .turn()
        # test_unknown_order
        .tool_call("lookup_order", {"order_id": "B-0000"})
        .usage(input_tokens=408, output_tokens=18)
        .turn()
        .text("I cannot find order B-0000; please check the number in your confirmation mail.")
        .usage(input_tokens=455, output_tokens=21)
    )


def main(arguments: list[str]) -> int:
    """Run pytest in recording mode against the local server; arguments are passed on to pytest."""
    with OpenAIServer(model()) as server:
        environment = os.environ | {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": ""}
        command = [sys.executable, "-m", "pytest", "--golden-mode=all", "-p", "no:randomly", *arguments]
        return subprocess.run([*command, str(HERE)], env=environment, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
