"""Gradio apps in this process, of the version that is installed here."""

import warnings
from collections.abc import Sequence
from typing import Any

from starlette.middleware import Middleware

__all__ = ["gradio_app"]


def gradio_app(
    middleware: Sequence[Middleware], *, auth_dependency: Any = None, demo: Any = None, **blocks: Any
) -> Any:
    """An app that echoes a text, or another one, made as `launch` makes it.

    blocks: What is set on the Blocks: `auth`, `root_path`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio's own
        import gradio
        from gradio.routes import App

        demo = demo or _echo(gradio)
        for name, value in {"auth_message": None, **blocks}.items():
            setattr(demo, name, [value] if name == "auth" and isinstance(value, tuple) else value)
        return App.create_app(
            demo, app_kwargs={"middleware": list(middleware)}, auth_dependency=auth_dependency
        )


def _echo(gradio: Any) -> Any:
    with gradio.Blocks(analytics_enabled=False) as demo:
        text = gradio.Textbox()
        text.submit(lambda said: said, text, text, api_name="echo")
    return demo
