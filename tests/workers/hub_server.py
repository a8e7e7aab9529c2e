"""A hub that serves one model: the few routes of its API that a download takes."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.pacer.test_hub import COMMIT


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, repo: str, folder: Path, *args: object) -> None:
        self.repo, self.folder = repo, folder
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        body = self._body(path)
        self.send_response(404 if body is None else 200)
        body = body or b""
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _body(self, path: str) -> bytes | None:
        files = {file.relative_to(self.folder).as_posix(): file for file in self.folder.rglob("*") if file.is_file()}
        for revision in ("main", COMMIT):
            found = files.get(path.removeprefix(f"/{self.repo}/resolve/{revision}/"))
            if found is not None:
                return found.read_bytes()
            if path == f"/api/models/{self.repo}/tree/{revision}":
                sizes = {name: file.stat().st_size for name, file in files.items()}
                told = [{"type": "file", "path": name, "size": size, "oid": "0"} for name, size in sizes.items()]
                return json.dumps(told).encode()
        if path.startswith(f"/api/models/{self.repo}"):
            listed = [{"rfilename": name} for name in files]
            return json.dumps({"id": self.repo, "sha": COMMIT, "private": False, "siblings": listed}).encode()
        return None

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(repo: str, folder: Path) -> Iterator[str]:
    """Serve a folder as a repository; yields the hub's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, repo, folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
