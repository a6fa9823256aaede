"""What keys look like, by vendor. A table; each shape is special enough to need no context.

Shapes are regular expressions for texts. A first pass over bytes, in which texts stand side by side, leaves out the
look before them (`Shape.pattern`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SHAPES", "Shape"]

_STARTS = r"(?:(?<![0-9A-Za-z])|(?<=\\[abfnrtv])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
"""Before a key stands no letter or digit, unless an escape ends there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of key.

    Attributes:
        title: how people call it.
        pattern: a regular expression; ``ends`` is what must follow. whole: it starts a word.
    """

    title: str
    pattern: str
    ends: str = ""
    whole: bool = True

    @property
    def strict(self) -> str:
        """The expression for texts."""
        return f"{_STARTS if self.whole else ''}{self.pattern}{self.ends}"


_MIXED = r"(?=[\w-]{0,200}[0-9])(?=[\w-]{0,200}[A-Z])"
"""What follows has a digit and a capital letter: words of a text, and names of CSS classes, have not."""

SHAPES: Mapping[str, Shape] = {
    "anthropic": Shape(title="an Anthropic key", pattern=r"sk-ant-[\w-]{20,}"),
    "openrouter": Shape(title="an OpenRouter key", pattern=r"sk-or-[\w-]{20,}"),
    "openai": Shape(title="an OpenAI key", pattern=rf"sk-(?!ant-|or-){_MIXED}[\w-]{{20,}}"),
    "aws": Shape(
        title="an AWS access key", pattern=r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?<!EXAMPLE)", ends=r"(?![0-9A-Za-z])"
    ),
    "aws_secret": Shape(
        title="an AWS secret key",
        pattern=r"(?:aws_secret_access_key|AWS_SECRET_ACCESS_KEY|SecretAccessKey)\W{1,8}[0-9A-Za-z/+]{40}",
    ),
    "google": Shape(title="a Google key", pattern=r"(?:AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,})"),
    "github": Shape(title="a GitHub token", pattern=r"(?:gh[opsur]_[0-9A-Za-z]{36,}|github_pat_\w{22,})"),
    "gitlab": Shape(title="a GitLab token", pattern=r"glpat-[\w-]{20,}"),
    "slack": Shape(
        title="a Slack token",
        pattern=r"(?:xox[abeoprs]-[0-9A-Za-z-]{10,}|xapp-[0-9A-Za-z-]{20,}"
        r"|hooks\.slack\.com/services/[0-9A-Z]+/[0-9A-Z]+/[0-9A-Za-z]+)",
    ),
    "stripe": Shape(title="a Stripe key", pattern=r"[rs]k_(?:live|test)_[0-9A-Za-z]{16,}"),
    "huggingface": Shape(title="a Hugging Face token", pattern=r"hf_[0-9A-Za-z]{30,}"),
    "jwt": Shape(title="a JSON web token", pattern=r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    "private_key": Shape(
        title="a private key", pattern=r"-----BEGIN (?:[0-9A-Z]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----", whole=False
    ),
    "bearer": Shape(
        title="a bearer token",
        pattern=r"(?:Bearer|bearer|BEARER)(?:\s|%20|\+){1,3}(?=[\w.~+/-]{0,200}[0-9])[\w.~+/-]{20,}",
    ),
}
"""By the name under which ``golden_secrets_allow`` may allow it. The more special shapes stand first."""
