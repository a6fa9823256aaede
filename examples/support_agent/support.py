"""A small support agent: it looks things up in parallel, decides, and may pay money back.

Nothing in this module knows about tests. What is not pure goes through `step`: the clock, the payment and the lookups
in other systems. Everything else (the refund rule, the wording of the prompt) is code, and is what a replay compares.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from starling import Agent, Budget, Config, MemoryLog, step, tool
from starling.errors import ToolError
from starling.provider.openai import OpenAI

if TYPE_CHECKING:
    from starling.eventlog import EventLog

SYSTEM_PROMPT = """\
You are the support agent of a small online shop.
Look up the order and the customer before you answer.
Refund only what the policy allows, and never more than was charged.
Answer in two sentences at most.
"""

ORDERS = {
    "A-1007": {"customer": "c-42", "charges_cents": [4990, 4990], "delivered": "2026-10-30T12:00:00+00:00"},
    "A-1011": {"customer": "c-42", "charges_cents": [1250], "delivered": "2026-02-02T09:30:00+00:00"},
}
CUSTOMERS = {"c-42": {"name": "Ada", "language": "en"}}
REFUND_WINDOW_DAYS = 180


@tool
async def lookup_order(order_id: str) -> dict[str, Any]:
    """What was charged for an order, and how many days ago it was delivered."""
    order = await step.side_effect(f"orders/{order_id}", lambda: ORDERS.get(order_id))
    if order is None:
        raise ToolError(f"there is no order {order_id}")
    age = step.now() - datetime.fromisoformat(order["delivered"])
    return {"customer": order["customer"], "charges_cents": order["charges_cents"], "days_ago": age.days}


@tool
def lookup_customer(customer_id: str) -> dict[str, Any]:
    """A customer's name and language."""
    return step.side_effect_sync(f"customers/{customer_id}", lambda: CUSTOMERS[customer_id])


@tool
def refund_policy() -> dict[str, Any]:
    """What may be refunded."""
    return {"window_days": REFUND_WINDOW_DAYS, "duplicate_charges": "always"}


@tool
async def refund(order_id: str, amount_cents: int) -> dict[str, Any]:
    """Pay money back to the customer."""
    reference = f"{step.random():016x}"
    receipt = await step.side_effect("payments.refund", lambda: pay_back(order_id, amount_cents, reference))
    return {"receipt": receipt, "refunded_cents": amount_cents}


def pay_back(order_id: str, amount_cents: int, reference: str) -> str:
    """Stands where a payment provider's client would."""
    return f"rf-{order_id}-{amount_cents}-{reference[:6]}"


def build_agent(log: EventLog | None = None) -> Agent:
    """The agent as production wires it."""
    return Agent(
        OpenAI(),
        Config(
            model="gpt-4o-mini",
            system_prompt=SYSTEM_PROMPT,
            params={"temperature": 0.2},
            max_turns=6,
            tool_errors="report",
        ),
        log or MemoryLog(),
        tools=[lookup_order, lookup_customer, refund_policy, refund],
        budget=Budget(max_output_tokens=2_000, max_usd=0.05),
    )


def handle(message: str) -> str:
    """Answer a customer's message."""
    return build_agent().run_sync(message).final_text
