"""Hub ids, and the cache as the hub's own library lays it out."""

from pathlib import Path

import pytest
from huggingface_hub import constants, try_to_load_from_cache

from pacer.hub import HubName, cache_folder, hub_name, offline

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put_snapshot(cache: Path, repo: str, ref: str = "main", commit: str = COMMIT) -> Path:
    """An empty model in the cache; its snapshot."""
    home = cache / f"models--{repo.replace('/', '--')}"
    (home / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
    (home / "refs" / ref).write_text(commit)
    snapshot = home / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text("{}")
    return snapshot


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("me/mine", HubName("me/mine", None)),
        ("me/mine-1.0@refs/pr/3", HubName("me/mine-1.0", "refs/pr/3")),
        (f"me/mine@{COMMIT}", HubName("me/mine", COMMIT)),
    ],
)
def test_a_hub_id_is_owner_name_and_perhaps_a_revision(name: str, read: HubName) -> None:
    assert hub_name(name) == read
    assert str(read) == name


@pytest.mark.parametrize("name", ["shapes-64", "/models/mine", "./me/mine", "a/b/c", "me/mine@", "../x", "me/", ""])
def test_what_is_no_hub_id(name: str) -> None:
    assert hub_name(name) is None


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT])
def test_a_cached_revision_is_found_where_the_hubs_library_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = put_snapshot(tmp_path, "me/mine", ref="v1.0" if revision == "v1.0" else "main")
    theirs = try_to_load_from_cache("me/mine", "model_index.json", cache_dir=tmp_path, revision=revision)
    assert HubName("me/mine", revision).snapshot == snapshot == Path(str(theirs)).parent


def test_what_is_not_cached_has_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put_snapshot(tmp_path, "me/mine")
    for name in ("me/other", "me/mine@v2", "me/mine@../../x"):
        found = hub_name(name)
        assert found is not None
        assert found.snapshot is None


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == Path("~/.cache/huggingface/hub").expanduser()
    assert Path(constants.default_cache_path).name == "hub"
    for name, value, wanted in (
        ("XDG_CACHE_HOME", "/x", "/x/huggingface/hub"),
        ("HF_HOME", "/home/hf", "/home/hf/hub"),
        ("HF_HUB_CACHE", "/cache", "/cache"),
    ):
        monkeypatch.setenv(name, value)
        assert cache_folder() == Path(wanted)


@pytest.mark.parametrize(("value", "said"), [("1", True), ("ON", True), ("true", True), ("0", False), ("", False)])
def test_offline_is_what_the_hubs_library_takes_for_yes(
    monkeypatch: pytest.MonkeyPatch, value: str, *, said: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert offline() is said
