"""What can be said wrong about the code is checked against it: settings, errors, metrics, packages, links."""

import re
from pathlib import Path

import pytest

from pacer.errors import ErrorKind
from pacer.metrics import make_metrics
from pacer.settings import Settings
from scripts.tables import TABLES, with_table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), ROOT / "deploy" / "README.md"]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_table_is_what_the_code_says(name):
    page, rows = TABLES[name]
    text = page.read_text()
    assert text == with_table(text, name, rows()), "run `python -m scripts.tables`"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_setting_is_documented(name):
    assert f"`PACER_{name.upper()}`" in (DOCS / "settings.md").read_text()


@pytest.mark.parametrize("kind", list(ErrorKind), ids=lambda kind: kind.label)
def test_error_has_its_heading_status_and_advice(kind):
    sections = dict(
        re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", (DOCS / "errors.md").read_text(), re.MULTILINE | re.DOTALL)
    )
    assert f"HTTP {kind.status}, “{kind.title}”." in sections[kind.label]
    assert kind.advice in sections[kind.label]


def test_no_error_is_documented_that_does_not_exist():
    headings = re.findall(r"^## (\S+)$", (DOCS / "errors.md").read_text(), re.MULTILINE)
    assert headings == [kind.label for kind in ErrorKind]


def test_metrics_page_has_one_line_for_each_metric_with_its_labels():
    metrics = set(make_metrics("gateway").registry._names_to_collectors.values())
    names = {
        family.name + ("_total" if family.type == "counter" else ""): ", ".join(metric._labelnames)
        for metric in metrics
        for family in metric.describe()
    }
    lines = re.findall(r"^\| `(pacer_\w+)` \| ([\w, ]+) \|", (DOCS / "metrics.md").read_text(), re.MULTILINE)
    assert len(lines) == len(dict(lines))
    assert dict(lines) == names


def test_every_package_has_its_line():
    text = (DOCS / "structures.md").read_text()
    listed = set(re.findall(r"^\| `([\w/]+)/` \|", text, re.MULTILINE))
    packages = {
        str(path.parent.relative_to(ROOT))
        for top in ("app", "workers", "schedules", "pacer", "clients")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert packages <= listed
    assert all((ROOT / name).is_dir() for name in listed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
