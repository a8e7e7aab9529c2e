"""`pacer schedules export`: what goes to stdout can be used as it is; files are written whole."""

import numpy as np
import pytest

from pacer.settings import Settings
from schedules.artefact import read
from schedules.registry import Registry
from workers.lab.cli import main


def test_stdout_holds_the_line_alone_and_notes_go_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Settings(), ["export", "shapes-64/euler/3", "--to=comfyui"]) == 0
    printed = capsys.readouterr()
    _, entry = Registry.load().find("shapes-64/euler/3")
    np.testing.assert_array_equal(np.array(printed.out.split(","), dtype=np.float64), entry.sigma_array())
    assert "KSamplerSelect: euler" in printed.err


def test_out_writes_an_artefact_with_its_table(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "it.json"
    assert main(Settings(), ["export", "shapes-64/dpmpp-2m/4", "--to=json", f"--out={path}"]) == 0
    assert capsys.readouterr().out == ""
    (entry,) = read(path).entries
    assert entry == Registry.load().find("shapes-64/dpmpp-2m/4")[1]
    assert entry.table is not None


def test_a_registry_of_ones_own_comes_first(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "shapes-64" / "euler.json"
    main(Settings(), ["export", "shapes-64/euler/2", "--to=json", f"--out={place}"])
    main(Settings(), ["export", "shapes-64/euler/2", "--to=a1111", f"--registry={tmp_path}"])
    assert "STEPS = 2" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"there are 2$"):
        main(Settings(), ["export", "shapes-64/euler/3", "--to=json", f"--registry={tmp_path}"])


def test_what_a_target_cannot_run_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be exported to diffusers: no stock scheduler takes own sigmas"):
        main(Settings(), ["export", "shapes-64/dpmpp-2m/6", "--to=diffusers"])
