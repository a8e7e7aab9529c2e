"""What every test may ask for: a real store, empty at the start of each test."""

from collections.abc import Iterator

import pytest
import redis

from pacer.embedded_store import EmbeddedStore
from scripts.live import live_system


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def redis_url(store_server: EmbeddedStore) -> str:
    store_server.start()
    with redis.Redis.from_url(store_server.url) as client:
        client.flushall()
    return store_server.url


@pytest.fixture(scope="session")
def live_url() -> Iterator[str]:
    """The address of a whole system: store, gateway, worker; started once, for the tests marked live."""
    with live_system() as url:
        yield url
