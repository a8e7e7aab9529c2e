from pathlib import Path

import pytest

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Lora
from pacer.loras import choose, offered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("ink", "clay.v2", "-dash", "two words", ".hidden")
    for name in names:
        (tmp_path / f"{name}.safetensors").write_bytes(b"common")
    (tmp_path / "pickle.bin").write_bytes(b"")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "owner" / "model").mkdir(parents=True)
    (tmp_path / "owner" / "model" / "ink.safetensors").write_bytes(b"own")
    (tmp_path / "owner" / "model" / "own.safetensors").write_bytes(b"own")
    return tmp_path


def test_a_model_has_what_is_for_all_and_its_own_first(folder: Path) -> None:
    assert list(offered(folder, "other")) == ["clay.v2", "ink"]
    found = offered(folder, "owner/model")
    assert list(found) == ["clay.v2", "ink", "own"]
    assert found["ink"].read_bytes() == b"own"
    assert offered(None, "other") == offered(folder / "missing", "other") == {}


def test_what_a_request_names_must_be_offered(folder: Path) -> None:
    assert choose([Lora("ink"), Lora("own", 0.5)], folder, "owner/model")[1].name == "own.safetensors"
    assert choose([], None, "other") == ()
    for name in ("own", "owner/model/own", "../ink", "/etc/passwd", "ink.safetensors", "folder", "pickle", "-dash", ""):
        with pytest.raises(PacerError, match=r"it has clay\.v2, ink$") as refused:
            choose([Lora("ink"), Lora(name)], folder, "other")
        assert (refused.value.kind, refused.value.field) == (ErrorKind.invalid_request, "lora")
    with pytest.raises(PacerError, match="has no LoRA 'ink'; it has none"):
        choose([Lora("ink")], None, "other")
