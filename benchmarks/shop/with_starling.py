"""The conversation as an agent of ours has it."""

import shop

from starling import Agent, Config, MemoryLog, tool
from starling.provider.openai import OpenAI


@tool
async def look_up(order: int, country: str = "NO") -> dict:
    """Look up an order."""
    return shop.look_up(order, country)


@tool
async def today() -> str:
    """The day on which everything happens."""
    return shop.today()


def answer() -> str:
    """What the model says in the end."""
    config = Config(model=shop.MODEL, system_prompt=shop.SYSTEM)
    agent = Agent(OpenAI(), config, MemoryLog(), tools=[look_up, today])
    return agent.run_sync(shop.QUESTION).final_text
