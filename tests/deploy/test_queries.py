"""Every metric that the board and the rules ask for is one that Pacer exposes, with the labels that it has."""

import json
import re
from pathlib import Path

import pytest
import yaml

from pacer.metrics import make_metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARD = json.loads((DEPLOY / "grafana" / "boards" / "pacer.json").read_text())
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "pacer.yml").read_text())

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}


def exposed() -> dict[str, set[str]]:
    """Every series name that a scrape can hold, and its labels."""
    series: dict[str, set[str]] = {}
    for metric in set(make_metrics("gateway").registry._names_to_collectors.values()):
        family = metric.describe()[0]
        for suffix in SUFFIXES[family.type]:
            extra = {"le"} if suffix == "_bucket" else set()
            series[family.name + suffix] = {*metric._labelnames, *extra}
    return series


def recorded() -> set[str]:
    return {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}


def queries() -> list[str]:
    panels = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    rules = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    variables = [variable["definition"] for variable in BOARD["templating"]["list"]]
    return panels + rules + variables


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_query_asks_for_metrics_that_exist(query):
    names = re.findall(r"(?<![\w:])(?:[a-z_]+:)?pacer_[a-z0-9_]+(?::\w+)?", query)
    assert names or "up{" in query
    assert set(names) <= set(exposed()) | recorded()


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_query_selects_by_labels_that_the_metric_has(query):
    for name, selector in re.findall(r"(?<![\w:])(pacer_[a-z0-9_]+)\{([^}]*)\}", query):
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert asked <= exposed()[name]


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_query_groups_by_labels_that_its_metrics_have(query):
    names = re.findall(r"(?<![\w:])(pacer_[a-z0-9_]+)", query)
    for keys in re.findall(r"\bby \(([^)]*)\)", query):
        for key in keys.replace(" ", "").split(","):
            assert any(key in exposed().get(name, set()) for name in names)


def test_every_metric_is_on_the_board():
    text = json.dumps([panel["targets"] for panel in BOARD["panels"]])
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed()}
    assert [name for name in sorted(families) if name not in text] == []


def test_every_alert_says_what_to_do():
    alerts = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts
    assert all({"summary", "action"} <= set(alert["annotations"]) for alert in alerts)


def test_every_panel_has_its_place():
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
