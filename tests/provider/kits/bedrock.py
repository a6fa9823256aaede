"""Amazon Bedrock's ConverseStream."""

from functools import cache

import boto3
from botocore.config import Config

from kits._kit import KEY, Kit
from starling.provider.bedrock import Bedrock
from starling.testing import BedrockServer
from starling.testing._bedrock_wire import bedrock_event

REGION = "us-east-1"

RECORDED = {
    "text and a call": tuple(
        bedrock_event(kind, body)
        for kind, body in (
            # "p" is padding, of another length in each event.
            ("messageStart", {"p": "abc", "role": "assistant"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Grüß dich."}, "p": "a"}),
            ("contentBlockStop", {"contentBlockIndex": 0, "p": "ab"}),
            (
                "contentBlockStart",
                {
                    "contentBlockIndex": 1,
                    "p": "ab",
                    "start": {"toolUse": {"name": "weather", "toolUseId": "tooluse_Xy"}},
                },
            ),
            (
                "contentBlockDelta",
                {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"city":"Oslo"}'}}, "p": "a"},
            ),
            ("contentBlockStop", {"contentBlockIndex": 1, "p": "ab"}),
            ("messageStop", {"p": "a", "stopReason": "tool_use"}),
            (
                "metadata",
                {
                    "p": "a",
                    "usage": {"inputTokens": 81, "outputTokens": 20, "totalTokens": 101, "cacheReadInputTokens": 64},
                },
            ),
        )
    ),
}


@cache
def session():
    """Credentials that are none. Making a session takes a while."""
    return boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=KEY, region_name=REGION)


def provider(server, **options):
    # An API key of the developer's goes before credentials, unless the signature is chosen.
    config = Config(signature_version="v4")
    return Bedrock(**{"base_endpoint": server.base_url, "session": session(), "config": config, **options})


def keyless():
    return Bedrock(region=REGION)


KIT = Kit(
    vendor="bedrock",
    sdk=("boto3", "botocore", "urllib3"),
    variable="",
    server=BedrockServer,
    provider=provider,
    keyless=keyless,
    recorded=RECORDED,
    carries_signatures=True,
)
