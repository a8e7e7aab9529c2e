"""Loading: what is shipped is what its card and its schedules say; what cannot be loaded is told plainly."""

import json
from pathlib import Path

import pytest

from pacer.models import CardError
from pacer.models import load as load_card
from schedules.registry import Registry
from workers.models import SHIPPED, ModelError, choose_device, load, weights_sha256


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_card_and_schedules_belong_to_the_shipped_weights(name: str) -> None:
    actual = weights_sha256(SHIPPED[name])
    assert load_card(name).weights_sha256 == actual
    assert {schedule.weights_sha256 for schedule in Registry.load().schedules(name)} == {actual}


def test_shipped_weights_are_small_and_half_precision() -> None:
    files = list(SHIPPED["shapes-64"].rglob("*.safetensors"))
    assert sum(path.stat().st_size for path in files) <= 30e6
    for path in files:
        size = int.from_bytes(path.read_bytes()[:8], "little")
        header = json.loads(path.read_bytes()[8 : 8 + size])
        assert {tensor["dtype"] for name, tensor in header.items() if name != "__metadata__"} == {"F16"}


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="neither a folder"):
        load(str(tmp_path))
    card = {"id": "x", "width": [64, 64, 8], "height": [64, 64, 8], "guidance_scale": 1.5, "prediction": "flow"}
    (tmp_path / "pacer.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        load(str(tmp_path))
    (tmp_path / "model_index.json").write_text('{"_class_name": "MagicPipeline"}')
    with pytest.raises(ModelError, match="'MagicPipeline' are not served; served: StableDiffusion3Pipeline"):
        load(str(tmp_path))


def test_devices_are_named_or_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ModelError, match="use auto, cpu, cuda or cuda:N"):
        choose_device("abacus")
