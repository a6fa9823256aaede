"""The conversation on the vendor's SDK alone, as briefly as it can be had: one client for all tests, tools in line."""

import json

import openai
import shop

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Look up an order.",
            "parameters": {
                "type": "object",
                "properties": {"order": {"type": "integer"}, "country": {"type": "string", "default": "NO"}},
                "required": ["order"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "today",
            "description": "The day on which everything happens.",
            "parameters": {"type": "object", "properties": {}},
        },
    },
]
FUNCTIONS = {"look_up": shop.look_up, "today": shop.today}

client = openai.OpenAI(max_retries=0)


def answer(*, stream: bool) -> str:
    """What the model says in the end."""
    ask = streamed if stream else whole
    messages = [{"role": "system", "content": shop.SYSTEM}, {"role": "user", "content": shop.QUESTION}]
    while True:
        message = ask(messages)
        messages.append(message)
        if not message.get("tool_calls"):
            return message["content"]
        messages.extend(results(message["tool_calls"]))


def results(calls: list[dict]) -> list[dict]:
    """What the tools say, as messages."""
    said = [result(call) for call in calls]
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": text} for call, text in zip(calls, said, strict=True)
    ]


def result(call: dict) -> str:
    """What one tool says."""
    function = call["function"]
    return json.dumps(FUNCTIONS[function["name"]](**json.loads(function["arguments"])))


def whole(messages: list[dict]) -> dict:
    """An answer in one piece."""
    completion = client.chat.completions.create(model=shop.MODEL, messages=messages, tools=TOOLS)
    message = completion.choices[0].message
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in message.tool_calls or ()
    ]
    return {"role": "assistant", "content": message.content, **({"tool_calls": calls} if calls else {})}


def streamed(messages: list[dict]) -> dict:
    """An answer in pieces, put together."""
    text: list[str] = []
    calls: list[dict] = []
    options = {"include_usage": True}
    with client.chat.completions.create(
        model=shop.MODEL, messages=messages, tools=TOOLS, stream=True, stream_options=options
    ) as pieces:
        for piece in pieces:
            if not piece.choices:
                continue
            delta = piece.choices[0].delta
            if delta.content:
                text.append(delta.content)
            for call in delta.tool_calls or ():
                if call.id:
                    calls.append({"id": call.id, "type": "function", "function": {"name": "", "arguments": ""}})
                function = calls[call.index]["function"]
                function["name"] += call.function.name or ""
                function["arguments"] += call.function.arguments or ""
    return {"role": "assistant", "content": "".join(text) or None, **({"tool_calls": calls} if calls else {})}
