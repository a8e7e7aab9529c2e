"""LitServe with its dynamic batching; within a batch, requests of equal step count are one pipeline call."""

# LitServe reads the annotations of decode_request and encode_response, and reads them as they stand: no
# `from __future__ import annotations` here, which would make strings of them.

import litserve
from fastapi import Response

from benchmarks.serving.peers.stock import Options, Wish, draw_grouped, load, read_options


class StockApi(litserve.LitAPI):
    """A LitAPI as the documentation on batching shows it."""

    def __init__(self, options: Options) -> None:
        super().__init__(max_batch_size=options.batch, batch_timeout=options.wait_s)
        self._options = options

    def setup(self, device: str) -> None:  # noqa: ARG002 -- the benchmark says which device
        """Load the model, once per worker."""
        self._pipeline = load(self._options)

    def decode_request(self, request: Wish) -> Wish:
        """One request's body."""
        return request

    def predict(self, wishes: list[Wish]) -> list[bytes]:
        """A batch."""
        return draw_grouped(self._pipeline, wishes)

    def encode_response(self, png: bytes) -> Response:
        """One request's answer."""
        return Response(png, media_type="image/png")


def main() -> None:
    """Serve until SIGTERM."""
    options = read_options()
    server = litserve.LitServer(StockApi(options), accelerator="cpu" if options.device == "cpu" else "cuda")
    server.run(host="127.0.0.1", port=options.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
