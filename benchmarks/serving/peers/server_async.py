"""The way of diffusers' example `server-async`: threads share the model, each request has a scheduler of its own.

A request gets a shallow copy of the pipeline with a deep copy of the scheduler; tokenizers, which are not safe to
share, are used under a lock. There is no batching: as many requests run at once as FastAPI's thread pool has threads.
"""

from __future__ import annotations

import copy
import threading
from typing import Any

import uvicorn
from diffusers import DiffusionPipeline
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool

from benchmarks.serving.peers.stock import Wish, draw, load, read_options


class LockedTokenizer:
    """A tokenizer that one thread at a time may call."""

    def __init__(self, tokenizer: Any, turn: threading.Lock) -> None:
        self._tokenizer = tokenizer
        self._turn = turn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Tokenize."""
        with self._turn:
            return self._tokenizer(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def request_scoped(pipeline: DiffusionPipeline, turn: threading.Lock) -> DiffusionPipeline:
    """A pipeline for one request; the networks stay shared."""
    own = copy.copy(pipeline)
    own.scheduler = copy.deepcopy(pipeline.scheduler)
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        if getattr(pipeline, name, None) is not None:
            # Past the pipeline's own __setattr__, which would note it in the configuration shared with all copies.
            own.__dict__[name] = LockedTokenizer(getattr(pipeline, name), turn)
    return own


def main() -> None:
    """Serve until SIGTERM."""
    options = read_options()
    pipeline = load(options)
    app = FastAPI()
    turn = threading.Lock()

    def infer(wish: Wish) -> bytes:
        return draw(request_scoped(pipeline, turn), [wish])[0]

    @app.post("/api/diffusers/inference")
    async def inference(wish: Wish) -> Response:
        return Response(await run_in_threadpool(infer, wish), media_type="image/png")

    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
