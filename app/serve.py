"""Run the gateway's application under uvicorn."""

from __future__ import annotations

import uvicorn

from app import logs
from app.main import create_app
from pacer.parent import end_with_parent
from pacer.settings import Settings

GRACE_S = 5
"""Seconds that open streams get when the process is asked to end; their callers resume by Last-Event-ID."""


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ValueError: the settings cannot be served.
    """
    end_with_parent()
    logs.configure(settings)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run()
