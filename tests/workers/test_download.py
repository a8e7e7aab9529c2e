"""`pacer download` against a hub of the test's own: what the pipeline needs, what is Pacer's own, and no pickles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pacer.hub import HubName
from pacer.models import CARD_NAME, NotCachedError, load
from tests.workers import hub_server
from tests.workers.families import tiny

REPO = "me/tiny-sd"


def download(model: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", "download", model]
    env = {**os.environ, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1", **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_what_is_downloaded_is_all_that_a_worker_and_a_gateway_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.saved(tiny.sd15, tmp_path / "model")
    (model / CARD_NAME).write_text(load(str(model)).model_copy(update={"id": REPO, "max_words": 7}).model_dump_json())
    small = model / "smaller" / "half"
    small.mkdir(parents=True)
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        (small / name).write_bytes((model / "unet" / name).read_bytes())
    for pickled in (model / "unet" / "diffusion_pytorch_model.bin", small / "diffusion_pytorch_model.bin"):
        torch.save({}, pickled)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NotCachedError, match=f"pacer download {REPO}"):
        load(REPO)
    with hub_server.serving(REPO, model) as address:
        ended = download(REPO, HF_ENDPOINT=address, HF_HUB_OFFLINE="0")
    assert ended.returncode == 0, ended.stderr[-2000:]
    snapshot = HubName(REPO, None).snapshot
    assert snapshot is not None
    assert ended.stdout.splitlines()[-1] == str(snapshot)
    assert load(REPO).max_words == 7
    fetched = {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()}
    kept = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    assert fetched == {name for name in kept if not name.endswith(".bin")}


@pytest.mark.parametrize(
    ("model", "said"),
    [("shapes-64", "'shapes-64' is no hub id"), (REPO, f"{REPO} is not cached, and HF_HUB_OFFLINE forbids a download")],
)
def test_what_cannot_be_downloaded_is_told(tmp_path: Path, model: str, said: str) -> None:
    ended = download(model, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert ended.returncode == 2
    assert said in ended.stderr.splitlines()[-1]
