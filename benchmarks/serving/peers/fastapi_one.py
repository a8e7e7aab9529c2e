"""The stock pipeline behind FastAPI, one request at a time in a thread, the others waiting for a lock."""

from __future__ import annotations

import asyncio

import uvicorn
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool

from benchmarks.serving.peers.stock import Wish, draw, load, read_options


def main() -> None:
    """Serve until SIGTERM."""
    options = read_options()
    pipeline = load(options)
    app = FastAPI()
    turn = asyncio.Lock()

    @app.post("/generate")
    async def generate(wish: Wish) -> Response:
        async with turn:
            (png,) = await run_in_threadpool(draw, pipeline, [wish])
        return Response(png, media_type="image/png")

    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
