import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from pacer.embedded_store import EmbeddedStore, StoreStartError, find_binary
from pacer.jobs.connection import connect


def test_the_binary_is_a_valkey_server():
    output = subprocess.run([find_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    assert "Valkey server" in output


def test_what_was_written_survives_a_restart(tmp_path):
    store = EmbeddedStore(tmp_path / "data")
    for value in (b"one", b"two"):
        with store, connect(store.url) as client:
            before = client.get("key")
            client.set("key", value)
    assert before == b"one"


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    with EmbeddedStore(tmp_path / "data", fsync="always") as store, connect(store.url) as client:
        client.set("key", b"value")
        os.kill(store.pid, signal.SIGKILL)
        while store.alive:
            time.sleep(0.01)
        store.start()
        assert client.get("key") == b"value", "the same client finds the new server at the same address"


def test_it_listens_on_a_private_socket_only(tmp_path):
    with EmbeddedStore(tmp_path / "data") as store:
        path = Path(store.url.removeprefix("unix://"))
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0
        with connect(store.url) as client:
            assert client.config_get("port") == {"port": "0"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert not path.parent.exists()


def test_a_long_data_folder_is_no_matter(tmp_path):
    with EmbeddedStore(tmp_path / ("long-" * 40)) as store, connect(store.url) as client:
        assert client.ping()


def test_one_data_folder_has_one_store(tmp_path):
    with EmbeddedStore(tmp_path / "data") as store:
        with pytest.raises(StoreStartError, match=rf"in use by another store \(process {store.pid}\)"):
            EmbeddedStore(tmp_path / "data").start()
        with connect(store.url) as client:
            assert client.ping()


def test_start_and_stop_again_do_nothing(tmp_path):
    store = EmbeddedStore(tmp_path / "data")
    store.stop()
    store.start()
    pid = store.pid
    store.start()
    assert store.pid == pid
    store.stop()
    store.stop()
    assert not store.alive
    with pytest.raises(RuntimeError, match="not running"):
        store.url  # noqa: B018


def test_a_store_that_cannot_start_says_why(tmp_path):
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(StoreStartError, match=r"(?s)did not start; its log ends.*manifest"):
        EmbeddedStore(tmp_path).start()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent death signal is Linux's")
def test_the_store_ends_with_a_killed_parent(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from pacer.embedded_store import EmbeddedStore;"
        "store = EmbeddedStore(Path(sys.argv[1])); store.start(); print(store.url, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as parent:
        url = parent.stdout.readline().strip()
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        parent.kill()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            with EmbeddedStore(tmp_path / "data"):
                return
        except StoreStartError:
            time.sleep(0.05)
    pytest.fail("the killed process's store still holds the data folder")
