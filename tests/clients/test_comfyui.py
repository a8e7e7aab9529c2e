"""The ComfyUI node without ComfyUI: the folder is loaded by itself, as ComfyUI loads it, and its function is run."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from schedules.artefact import parse
from schedules.export import export
from schedules.registry import Registry

REGISTRY = Registry.load()
FOLDER = Path(__file__).parents[2] / "clients" / "comfyui"


@pytest.fixture
def node(tmp_path, monkeypatch):
    """The node's class, from a copy of the folder elsewhere, as in ComfyUI/custom_nodes/."""
    shutil.copytree(FOLDER, tmp_path / "pacer", ignore=shutil.ignore_patterns("__pycache__"))
    place = tmp_path / "pacer" / "__init__.py"
    spec = importlib.util.spec_from_file_location("custom_pacer", place, submodule_search_locations=[str(place.parent)])
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "custom_pacer", module)
    spec.loader.exec_module(module)
    assert set(module.NODE_DISPLAY_NAME_MAPPINGS) == set(module.NODE_CLASS_MAPPINGS) == {"PacerSigmas"}
    yield module.NODE_CLASS_MAPPINGS["PacerSigmas"]
    monkeypatch.delitem(sys.modules, "custom_pacer.node")


def document(**changes):
    schedule, entry = REGISTRY.find("shapes-64/euler/6")
    return json.loads(export(schedule, entry, "json").text) | changes


def written(content, folder):
    path = folder / "schedule.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_it_gives_all_sigmas_and_the_sampler(node, tmp_path):
    arguments = {"file": written(document(), tmp_path), "steps": 6}
    assert set(arguments) == set(node.INPUT_TYPES()["required"])
    sigmas, sampler = getattr(node(), node.FUNCTION)(**arguments)
    assert node.RETURN_TYPES == ("SIGMAS", "STRING")
    assert sampler == "euler"
    assert sigmas.dtype == torch.float32
    _, entry = REGISTRY.find("shapes-64/euler/6")
    torch.testing.assert_close(sigmas, torch.tensor(entry.sigmas, dtype=torch.float32), rtol=0, atol=0)
    assert (len(sigmas), float(sigmas[-1])) == (7, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solver": "learned"}, "no sampler that is 'learned' for a flow model"),
        ({"solver": "dpmpp-2m", "order": 2}, "no sampler that is 'dpmpp-2m' for a flow model"),
        ({"format": "other/1"}, "format must be 'pacer-schedule/1', is 'other/1'"),
    ],
)
def test_what_sigmas_do_not_carry_is_refused(node, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        node().read(written(document(**changes), tmp_path), 6)


def test_rows_for_a_smaller_network_are_refused(node, tmp_path):
    content = document()
    steps = content["entries"][0]["steps"]
    content["networks"] = {"half": {"weights_sha256": "1" * 64, "cost": 0.3}}
    content["entries"][0]["table"]["networks"] = ["half"] + [""] * (steps - 1)
    parse(json.dumps(content))  # a good artefact
    with pytest.raises(ValueError, match="has rows for a smaller network"):
        node().read(written(content, tmp_path), 6)


def test_guidance_that_differs_from_row_to_row_is_refused(node, tmp_path):
    content = document()
    content["entries"][0]["table"]["w"][2] = 0.5
    parse(json.dumps(content))  # a good artefact
    with pytest.raises(ValueError, match="guidance differs from row to row"):
        node().read(written(content, tmp_path), 6)


def test_a_missing_file_or_budget_is_named(node, tmp_path):
    with pytest.raises(ValueError, match=r"absent\.json: No such file"):
        node().read(str(tmp_path / "absent.json"), 6)
    with pytest.raises(ValueError, match="no entry of 7 steps; there are 6"):
        node().read(written(document(), tmp_path), 7)
