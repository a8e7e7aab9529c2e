"""Ray Serve with `@serve.batch`; within a batch, requests of equal step count are one pipeline call."""

from __future__ import annotations

import asyncio
import signal
import threading

import ray
from fastapi import Response
from ray import serve
from starlette.requests import Request

from benchmarks.serving.peers.stock import Options, Wish, draw_grouped, load, read_options


def application(options: Options) -> serve.Application:
    """One replica, which may hold a batch in work and another in waiting."""

    class Stock:
        def __init__(self) -> None:
            self._pipeline = load(options)

        @serve.batch(max_batch_size=options.batch, batch_wait_timeout_s=options.wait_s)
        async def draw(self, wishes: list[Wish]) -> list[bytes]:
            # In a thread, so that the replica goes on taking requests while it draws.
            return await asyncio.to_thread(draw_grouped, self._pipeline, wishes)

        async def __call__(self, request: Request) -> Response:
            wish = Wish(**await request.json())
            return Response(await self.draw(wish), media_type="image/png")

    return serve.deployment(max_ongoing_requests=2 * options.batch)(Stock).bind()


def main() -> None:
    """Serve until SIGTERM."""
    options = read_options()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    ray.init(include_dashboard=False, log_to_driver=True)
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    serve.run(application(options), route_prefix="/")
    stopping.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
