"""The commands on a real pipeline, saved with tiny random networks."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pacer.settings import Settings
from schedules.artefact import Schedule, read, write
from workers.lab.cli import main
from workers.lab.loading import open_model, task_scores, weights_sha256
from workers.shapes.architecture import build_pipeline, build_transformer, build_vae
from workers.shapes.language import sample_prompts
from workers.shapes.render import draw

SEARCH = ("search", "--seeds=4", "--held-out=4", "--grid=6", "--teacher-steps=12", "--refine=12", "--budgets=2,3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    vae = build_vae()
    vae.register_to_config(scaling_factor=1.0, shift_factor=0.0)
    build_pipeline(vae=vae, transformer=build_transformer(width=32, layers=1)).save_pretrained(folder)
    card = {"id": "tiny", "width": [64, 64, 8], "height": [64, 64, 8], "guidance_scale": 1.5, "prediction": "flow"}
    (folder / "pacer.json").write_text(json.dumps(card))
    (folder / "prompts.txt").write_text("\n".join(str(prompt) for prompt in sample_prompts(40, 0)))
    return folder


@pytest.fixture(scope="module")
def searched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("registry")
    prompts, data = folder / "prompts.txt", out.parent / "lab"
    arguments = [*SEARCH, f"--model={folder}", f"--prompts={prompts}", f"--out={out}", f"--data={data}"]
    arguments.append(f"--report={out.parent / 'report.html'}")
    assert main(Settings(), arguments) == 0
    return out


def test_search_writes_the_artefact_where_the_registry_looks(folder: Path, searched: Path) -> None:
    schedule = read(searched / "tiny" / "euler.json")
    assert [entry.steps for entry in schedule.entries] == [2, 3]
    assert schedule.weights_sha256 == weights_sha256(folder)
    assert schedule.valid_for.covers(width=64, height=64, guidance_scale=1.5)
    for entry in schedule.entries:
        assert entry.evidence is not None
        assert set(entry.evidence.baselines_psnr_db) == {"uniform", "stock", "shift3", "karras", "beta"}


def test_a_search_ends_with_a_page_and_its_figures(searched: Path) -> None:
    page, figures = (searched.parent / f"report.{ending}" for ending in ("html", "json"))
    text, data = page.read_text(), json.loads(figures.read_text())
    assert text.count("<svg") == 2
    assert "data:image/png;base64," in text
    assert data["schedule"] == "tiny/euler"
    assert data["run"]["evaluations"] > 0
    stored = {entry.steps: entry.evidence for entry in read(searched / "tiny" / "euler.json").entries}
    for entry in data["entries"]:
        evidence = stored[entry["steps"]]
        assert evidence is not None
        assert entry["evidence"] == evidence.model_dump(mode="json")
        assert f"{evidence.psnr_db.mean:.2f}</td>" in text


def test_an_artefact_is_measured_anew(folder: Path, searched: Path, tmp_path: Path) -> None:
    where = [f"--prompts={folder / 'prompts.txt'}", f"--registry={searched}", f"--data={tmp_path / 'lab'}"]
    settings = Settings(models=(str(folder),))
    assert main(settings, ["measure", "tiny/euler", f"--out={tmp_path}", *where]) == 0
    old, new = (read(place / "tiny" / "euler.json") for place in (searched, tmp_path))
    for before, after in zip(old.entries, new.entries, strict=True):
        assert before.evidence is not None
        assert after.evidence is not None
        assert after.evidence.psnr_db.mean == pytest.approx(before.evidence.psnr_db.mean, abs=1e-3)
        assert after.evidence.quality is not None
        assert 0 < after.evidence.quality.mean <= 1
    assert main(settings, ["measure", "tiny/euler", "--seeds=6", f"--out={tmp_path}", *where]) == 0
    more = read(tmp_path / "tiny" / "euler.json").entries[0].evidence
    assert more is not None
    assert more.seeds == 6
    with pytest.raises(ValueError, match="there are"):
        main(settings, ["measure", "tiny/ab9", f"--out={tmp_path}", *where])


def test_what_single_pictures_keep_is_measured_on_more_seeds(folder: Path, searched: Path, tmp_path: Path) -> None:
    where = [f"--prompts={folder / 'prompts.txt'}", f"--registry={searched}", f"--data={tmp_path / 'lab'}"]
    command = ["measure", "tiny/euler", f"--out={tmp_path}", *where, "--kept"]
    settings = Settings(models=(str(folder),))
    old = read(searched / "tiny" / "euler.json").entries[0].evidence
    assert main(settings, [*command, "--seeds=12"]) == 0
    new = read(tmp_path / "tiny" / "euler.json").entries[0].evidence
    assert old is not None
    assert new is not None
    assert (new.seeds, new.kept_seeds) == (old.seeds, 12)
    assert (new.baselines_psnr_db, new.psnr_db) == (old.baselines_psnr_db, old.psnr_db)
    assert [kept.by for kept in new.kept_psnr_db] == [0.5, 0.75], "twelve seeds say nothing of nine pictures in ten"
    with pytest.raises(ValueError, match=r"means are of \d+ seeds from 2000000 on, which are not the first of 1 seeds"):
        main(settings, [*command, "--seeds=1"])


def test_quality_is_measured_on_more_seeds_of_some_budgets(folder: Path, searched: Path, tmp_path: Path) -> None:
    where = [f"--prompts={folder / 'prompts.txt'}", f"--registry={searched}", f"--data={tmp_path / 'lab'}"]
    command = ["measure", "tiny/euler", f"--out={tmp_path}", *where, "--quality"]
    settings = Settings(models=(str(folder),))
    old = read(searched / "tiny" / "euler.json").entries
    last = old[-1].steps
    assert main(settings, [*command, "--seeds=12", f"--budgets={last}"]) == 0
    *others, new = read(tmp_path / "tiny" / "euler.json").entries
    assert others == list(old[:-1])
    assert new.evidence is not None
    assert new.evidence.quality_seeds == 12
    assert new.evidence.quality is not None
    assert new.model_copy(update={"evidence": None}) == old[-1].model_copy(update={"evidence": None})
    stayed = {"quality_seeds": None, "task_score": None, "quality": None}
    assert old[-1].evidence is not None
    assert new.evidence.model_copy(update=stayed) == old[-1].evidence.model_copy(update=stayed)
    assert new.evidence.quality != old[-1].evidence.quality
    with pytest.raises(ValueError, match="--budgets: tiny/euler has none of 19"):
        main(settings, [*command, "--budgets=19"])


def test_the_artefact_says_what_its_search_cost(searched: Path) -> None:
    said = read(searched / "tiny" / "euler.json").provenance.parameters
    assert int(said["search_evaluations"]) > 0
    assert float(said["search_seconds"]) > 0


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_show_prints_and_draws(searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    picture = tmp_path / f"curve.{ending}"
    arguments = ["show", "tiny/euler/3", f"--registry={searched}", f"--out={picture}", "--no-teacher"]
    assert main(Settings(), arguments) == 0
    assert picture.read_bytes()[:4] in (b"\x89PNG", b"<?xm")
    printed = capsys.readouterr().out
    assert "tiny/euler/3" in printed
    assert "held-out seeds" in printed
    assert "karras" in printed


def test_show_draws_the_teachers_curve(folder: Path, searched: Path, tmp_path: Path) -> None:
    alone, both = tmp_path / "alone.svg", tmp_path / "both.svg"
    prompts = folder / "prompts.txt"
    common = ["show", "tiny/euler/2", f"--registry={searched}", f"--data={tmp_path}", f"--prompts={prompts}"]
    settings = Settings(models=(str(folder),))
    main(settings, [*common, f"--out={alone}", "--no-teacher"])
    main(settings, [*common, f"--out={both}"])
    assert both.read_text().count("<path") > alone.read_text().count("<path")


def test_a_variant_is_searched_into_a_file_of_its_own(folder: Path, searched: Path, tmp_path: Path) -> None:
    prompts, data = folder / "prompts.txt", searched.parent / "lab"
    places = [f"--model={folder}", f"--prompts={prompts}", f"--out={tmp_path}", f"--data={data}"]
    arguments = [*SEARCH, *places, "--variant=second", f"--report={tmp_path / 'report.html'}", "--resume"]
    assert main(Settings(), arguments) == 0
    found, plain = read(tmp_path / "tiny" / "euler@second.json"), read(searched / "tiny" / "euler.json")
    assert found.variant == "second"
    assert found.entries == plain.entries, "the same search"
    assert "tiny/euler@second" in (tmp_path / "report.html").read_text()
    with pytest.raises(ValueError, match="variant: must be 1 to 24 of a-z"):
        main(Settings(), [*SEARCH, *places, "--variant=Second one"])


def test_the_list_has_every_artefact(searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = read(searched / "tiny" / "euler.json")
    write(plain, tmp_path / "tiny" / "euler.json")
    changed = plain.model_copy(update={"variant": "lab", "servable": False})
    write(changed, tmp_path / "tiny" / "euler@lab.json")
    assert main(Settings(), ["list", f"--registry={tmp_path}"]) == 0
    everything = capsys.readouterr().out
    assert re.search(r"tiny/euler@lab .* no ", everything)
    assert "shapes-64/euler" in everything
    assert main(Settings(), ["list", f"--registry={tmp_path}", "--model=tiny"]) == 0
    own = capsys.readouterr().out
    assert "shapes-64" not in own
    assert re.search(r"tiny/euler\s+│ 2 to 3 +│ 4 to 6 +│ 1\.5 ", own)
    with pytest.raises(ValueError, match="no schedules for model 'sd3'"):
        main(Settings(), ["list", "--model=sd3"])


def test_unknown_schedule_is_refused_by_name(searched: Path) -> None:
    with pytest.raises(ValueError, match="there are 2, 3"):
        main(Settings(), ["show", "tiny/euler/7", f"--registry={searched}"])


def test_another_kind_of_picture_is_refused(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.png or \.svg"):
        main(Settings(), ["show", "tiny/euler/2", f"--registry={searched}", "--no-teacher", f"--out={tmp_path}/a.bmp"])


def test_a_model_without_prompts_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="give a file of prompts"):
        open_model(str(folder), Settings())


def test_the_judge_passes_true_pictures_and_no_others() -> None:
    rng = np.random.default_rng(0)
    prompts = sample_prompts(12, 5)
    pixels = np.stack([draw(prompt, rng) for prompt in prompts])
    texts = [str(prompt) for prompt in prompts]
    assert task_scores(texts, pixels).mean() == pytest.approx(1.0)
    assert task_scores(texts, pixels[::-1]).mean() < 0.5


def test_an_artefact_survives_writing(searched: Path, tmp_path: Path) -> None:
    schedule: Schedule = read(searched / "tiny" / "euler.json")
    write(schedule, tmp_path / "copy.json")
    assert read(tmp_path / "copy.json") == schedule


def command(folder: Path, searched: Path, tmp_path: Path, *more: str) -> list[str]:
    lines = tmp_path / "prompts.txt"
    lines.write_text("\n".join(str(prompt) for prompt in sample_prompts(400, 5)))
    where = [f"--prompts={lines}", f"--registry={searched}", f"--data={tmp_path / 'lab'}", f"--out={tmp_path / 'out'}"]
    return ["prompts", "tiny/euler", "--seeds=40", "--check-prompts=4", "--check-seeds=2", *where, *more]


def test_the_artefact_knows_what_words_are_worth(
    folder: Path, searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, picture = Settings(models=(str(folder),)), tmp_path / "told.svg"
    assert main(settings, command(folder, searched, tmp_path, f"--plot={picture}", "--budgets=1-3")) == 0
    told = capsys.readouterr().out
    assert "steps by the prompt" in told
    assert picture.exists()
    schedule, before = (read(place / "tiny" / "euler.json") for place in (tmp_path / "out", searched))
    assert schedule.model_copy(update={"prompts": None}) == before
    curves = schedule.prompts
    assert curves is not None
    assert curves.steps == tuple(entry.steps for entry in before.entries if entry.steps <= 3)
    assert {"a", "on", "background"} <= set(curves.words)
    assert (curves.seeds, curves.seed_offset) == (40, 100_000)
    figures = curves.of(str(sample_prompts(1, 5)[0]))
    assert figures is not None
    shown = before.entries[0].evidence
    assert shown is not None
    assert [kept.by for kept in figures.evidence(curves.steps[0], shown).kept_psnr_db] == [0.5, 0.75, 0.9]


@pytest.mark.parametrize(
    ("more", "said"),
    [("--check-seeds=3", "must be an even number from 2 on"), ("--budgets=19-20", "tiny/euler has none of 19-20")],
)
def test_what_cannot_be_judged_or_fitted_is_refused(
    folder: Path, searched: Path, tmp_path: Path, more: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        main(Settings(models=(str(folder),)), command(folder, searched, tmp_path, more))
