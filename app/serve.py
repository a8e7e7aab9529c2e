"""Run the gateway's application under uvicorn."""

from __future__ import annotations

import uvicorn

from app import logs
from app.main import create_app
from pacer.garbage import spare_what_lasts
from pacer.parent import end_with_parent
from pacer.settings import Settings

GRACE_S = 5
"""Seconds that open streams get when the process is asked to end; their callers resume by Last-Event-ID."""

KEEP_ALIVE_S = 75
"""Seconds that an idle connection is kept: longer than clients and balancers use one again (5 s in httpx, and so in the
OpenAI client, 60 s in most balancers), so that none is closed just as its next request is on the way."""


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
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    spare_what_lasts()
    uvicorn.Server(config).run()
