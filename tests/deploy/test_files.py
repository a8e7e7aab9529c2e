"""The deployment's files parse, and refer only to what is there."""

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from app.cli import app as pacer_command
from pacer.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# `docker build` arguments and the like, which Pacer itself never reads.
NOT_SETTINGS = {"PACER_TORCH_INDEX"}


def services_built() -> dict[str, dict[str, str]]:
    return {name: service["build"] for name, service in COMPOSE["services"].items() if "build" in service}


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_yaml_parses_to_a_mapping(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.json")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_json_parses_to_a_mapping(path):
    assert isinstance(json.loads(path.read_text()), dict)


def test_compose_builds_both_images_from_targets_of_the_dockerfile():
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert set(services_built()) == {"gateway", "worker"}
    for build in services_built().values():
        assert build["target"] in targets
        assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == ROOT / "Dockerfile"


def test_compose_passes_only_arguments_that_the_dockerfile_takes():
    taken = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    given = {name for build in services_built().values() for name in build.get("args", {})}
    assert given
    assert given <= taken


def test_compose_mounts_only_what_exists():
    mounts = [mount for service in COMPOSE["services"].values() for mount in service.get("volumes", [])]
    sources = [mount.split(":")[0] for mount in mounts]
    assert any(source.startswith("./") for source in sources)
    for source in sources:
        assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_compose_waits_only_for_services_that_exist():
    for service in COMPOSE["services"].values():
        assert set(service.get("depends_on", [])) <= set(COMPOSE["services"])


def test_every_setting_that_deploys_is_one_of_pacers():
    text = (DEPLOY / "compose.yaml").read_text() + DOCKERFILE
    named = set(re.findall(r"\bPACER_[A-Z_]+", text)) - NOT_SETTINGS
    assert named
    assert named <= {f"PACER_{name.upper()}" for name in Settings.model_fields}


def test_images_copy_only_what_exists_and_what_is_not_ignored():
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in allowed


def test_images_run_commands_that_pacer_has():
    commands = [json.loads(line)[0] for line in re.findall(r"^CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)]
    assert sorted(commands) == ["gateway", "worker"]
    assert set(commands) <= set(get_command(pacer_command).commands)


def test_images_do_not_run_as_root():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    final = [stage for stage in stages if re.match(r"runtime AS (gateway|worker)\n", stage)]
    assert len(final) == 2
    assert all(re.search(r"^USER pacer$", stage, re.MULTILINE) for stage in final)


def test_prometheus_scrapes_services_of_compose():
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    hosts = {
        name.split(":")[0]
        for job in config["scrape_configs"]
        for part in job.get("static_configs", []) + job.get("dns_sd_configs", [])
        for name in part.get("targets", []) + part.get("names", [])
    }
    assert hosts == {"gateway", "worker"}
