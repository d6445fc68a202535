"""The page of `tools/demo.py`, made with Gradio and served on this machine: no photo is kept or sent away."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ean_core.inference.demo.answer_html import STYLE, about_html, answers_html, error_html
from ean_core.inference.demo.answers import MAX_BYTES, MAX_PIXELS, answer, read_upload
from ean_core.inference.loaded_model import LoadedModel
from ean_core.inference.shipped_models import find_model
from ean_core.utils.errors import EANError

TABS = {"counter": "Count a crowd", "segmentor": "Segment", "classifier": "Classify"}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; base-uri 'self'; "
    "form-action 'self'"
)
"""Browsers load nothing for the page from other hosts, such as fonts."""
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "DejaVu Sans", "sans-serif"]
TITLE = "EAN: try the networks on a photo"


def by_kind(models: Sequence[LoadedModel]) -> dict[str, list[LoadedModel]]:
    """The networks of each tab, in the tabs' order."""
    groups = {kind: [model for model in models if model.kind == kind] for kind in TABS}
    return {kind: group for kind, group in groups.items() if group}


def answer_upload(path: str, models: Sequence[LoadedModel]) -> str:
    """The answers to an uploaded file as HTML, or a sentence that says why there are none. The file is deleted."""
    try:
        return answers_html(answer(models, read_upload(path)), device=models[0].device)
    except EANError as error:
        return error_html(error)


def about(models: Sequence[LoadedModel]) -> list[str]:
    """What a user must know of the networks that come with the project: figures, data, limits and errors by count."""
    shipped = [model for network in models if (model := find_model(network.path.stem)) is not None]
    paths = [network.path for network in models]
    return [line for model in shipped if model.path in paths for line in (model.notice, model.errors) if line]


@contextmanager
def private_gradio() -> Iterator[Any]:
    """Gradio without analytics, its uploads in a folder that is deleted at the end.

    The settings are environment variables that Gradio reads when it is imported and when a page is built.
    """
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    with tempfile.TemporaryDirectory(prefix="ean-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        import gradio

        yield gradio


def make_page(gradio: Any, models: Sequence[LoadedModel]) -> Any:
    """The page: a tab for each kind of network, each with a place for a photo and the answers below it."""
    intro = (
        "<h1>Try the networks on a photo</h1><p>They run on this machine. Photos are not kept, and nothing is sent "
        f"away. At most {MAX_BYTES / 1e6:.0f} MB and {MAX_PIXELS / 1e6:.0f} million pixels.</p>"
    )
    with gradio.Blocks(title=TITLE, analytics_enabled=False) as page:
        gradio.HTML(intro)
        with gradio.Tabs():
            for kind, group in by_kind(models).items():
                with gradio.Tab(TABS[kind]):
                    photo = gradio.File(label="Photo", file_types=["image"], height=150)
                    answers = gradio.HTML(about_html(about(group)))
                    photo.upload(answer_event(group), photo, [photo, answers], api_visibility="private")
    return page


def answer_event(models: Sequence[LoadedModel]) -> Callable[[str], tuple[None, str]]:
    """What happens when a photo is dropped: the answers are shown, and the place is free for the next photo."""

    def respond(path: str) -> tuple[None, str]:
        return None, answer_upload(path, models) + about_html(about(models))

    return respond


class ContentPolicy:
    """ASGI middleware that adds the content security policy to every response."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    async def __call__(self, scope: Mapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        async def send_with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, send_with_policy)


def make_app(gradio: Any, models: Sequence[LoadedModel], *, host: str) -> Any:
    """The ASGI application: the page, with bounded uploads, without links to other hosts.

    Bound to this machine alone, it answers only to the names of this machine, so that no other site's name can be
    pointed at it.
    """
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(ContentPolicy)
    if host in LOOPBACK:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    return gradio.mount_gradio_app(
        app,
        make_page(gradio, models),
        path="/",
        footer_links=[],
        run_history=False,
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gradio.themes.Default(font=FONTS, font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"]),
        css=STYLE,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        EANError: if the port is in use, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EANError(
            f"the page cannot be served at {host}, port {port} ({reason}): give another --port, or --host"
        ) from None


def serve(models: Sequence[LoadedModel], *, host: str, port: int, started: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        models: the networks.
        host, port: where; 0 for any free port.
        started: called with the page's address once connections are accepted.

    Raises:
        EANError: if the address cannot be used.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder of uploads is deleted then too
    with suppress(KeyboardInterrupt), listen(host, port) as listener, private_gradio() as gradio:
        import uvicorn

        app = make_app(gradio, models, host=host)
        started(f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}")
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])  # passes the signal on
