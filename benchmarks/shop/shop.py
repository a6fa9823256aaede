"""The conversation that both sides have: a shop's orders, 5 turns, 10 calls of tools. No code of either side."""

SYSTEM = "You answer questions about the orders of a shop, briefly. " * 4
QUESTION = "Were the orders of this week shipped in time?"
MODEL = "gpt-4o-mini"


def look_up(order: int, country: str = "NO") -> dict:
    """Look up an order."""
    return {"order": order, "country": country, "items": [{"sku": "a-17", "count": 2}, {"sku": "b-4", "count": 1}]}


def today() -> str:
    """The day on which everything happens."""
    return "2026-11-21"
