"""The answering step by a language model: any server that speaks OpenAI's chat completions."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from ..errors import ConfigError, PenstockError
from ..settings import environment
from ..worker import Span
from .prose import signature
from .writing import Source

__all__ = ["Model", "ModelError", "configured", "stream"]

DEFAULT_MODEL = "gpt-4o-mini"

TIMEOUT_S = 60.0
"""Longest silence of the model, connecting included: a cold start of a local one takes tens of seconds."""

SOURCE_CHARS = 4_000
"""Text of one source in the prompt: five of them stay within 8,000 tokens, as small models can hold."""

NO_KEY = "none"
"""Local servers ask for no key, but the openai package will not send a request without one."""

INSTRUCTIONS = (
    "Answer the question about the Python standard library in a few short paragraphs, "
    "from the numbered sources only. "
    "After each statement cite the source it comes from, like [1]. Show a short example where it helps. "
    "If the sources do not answer the question, say so. Do not list the sources at the end."
)


class ModelError(PenstockError):
    """The model's server refused, failed or could not be reached."""

    code = "model_error"


class Model(msgspec.Struct, frozen=True):
    """Which model, and where. `base_url` empty is OpenAI's own."""

    name: str
    base_url: str
    api_key: str


def configured() -> Model | None:
    """The model that the environment names, or None."""
    key, url = environment("OPENAI_API_KEY"), environment("OPENAI_BASE_URL")
    if not key and not url:
        return None
    return Model(environment("OPENAI_MODEL") or DEFAULT_MODEL, url, key or NO_KEY)


async def stream(
    model: Model, question: str, sources: Sequence[Source], span: Span
) -> AsyncGenerator[str, None]:
    """The model's answer, piece by piece. Closing it, or being cancelled, closes the connection.

    span: told of the tokens used, where the server counts them.

    Raises ConfigError where the openai package is missing, ModelError for whatever the server does wrong.
    """
    openai = await _openai()
    client = openai.AsyncOpenAI(api_key=model.api_key, base_url=model.base_url or None, timeout=TIMEOUT_S)
    try:
        async with (
            client,
            await client.chat.completions.create(
                model=model.name,
                messages=_messages(question, sources),
                stream=True,
                stream_options={"include_usage": True},
            ) as chunks,
        ):
            async for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content
                if used := chunk.usage:
                    span.usage(
                        input_tokens=used.prompt_tokens,
                        output_tokens=used.completion_tokens,
                        model=model.name,
                    )
    except openai.APIError as error:
        raise _model_error(model, error) from error


async def _openai() -> Any:
    """The package. Importing it takes most of a second, so that happens in a thread."""
    try:
        return await asyncio.to_thread(importlib.import_module, "openai")
    except ImportError as error:
        raise ConfigError(
            "OPENAI_API_KEY or OPENAI_BASE_URL is set, but the openai package is not installed.",
            hint="pip install 'penstock[openai]', or unset them to answer without a model.",
        ) from error


def _model_error(model: Model, error: Exception) -> ModelError:
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return ModelError(
        f"The model {model.name} at {model.base_url or 'api.openai.com'} failed: {error}{cause}",
        hint="Check OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL, or unset them to need no model.",
    )


def _messages(question: str, sources: Sequence[Source]) -> list[dict[str, str]]:
    shown = "\n\n".join(_shown(source) for source in sources)
    return [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": f"Sources:\n\n{shown}\n\nQuestion: {question}"},
    ]


def _shown(source: Source) -> str:
    entry = source.entry
    text = f"[{source.number}] {signature(entry)} ({entry.kind})\n{entry.doc or source.excerpt}"
    return text[:SOURCE_CHARS]
