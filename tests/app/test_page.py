from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

STATIC = Path(__file__).parents[2] / "app" / "static"


def test_the_page_and_everything_it_asks_for_is_there(client: httpx2.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    parts = set(re.findall(r'(?:href|src)="(/[^"]+)"', page.text))
    assert {"/static/page.js", "/static/page.css", "/docs", "/metrics"} <= parts
    assert all(client.get(part).status_code == 200 for part in parts)
    imported = re.findall(r'from "\./([^"]+)"', client.get("/static/page.js").text)
    assert imported
    assert all(client.get(f"/static/{name}").status_code == 200 for name in imported)


def test_the_apis_page_asks_for_nothing_outside_this_server(client: httpx2.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    asked = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    parts = {part for part in asked if part != "data:,"}
    assert parts == {
        "/openapi.json", "/static/docs.js", "/static/swagger/swagger-ui-bundle.js", "/static/swagger/swagger-ui.css",
    }  # fmt: skip
    answers = {part: client.get(part) for part in parts}
    assert all(answer.status_code == 200 for answer in answers.values())
    assert "SwaggerUIBundle" in answers["/static/swagger/swagger-ui-bundle.js"].text
    assert not re.findall(r"@import|url\(.?https?:", answers["/static/swagger/swagger-ui.css"].text)
    script = answers["/static/docs.js"].text
    assert "://" not in script
    assert "validatorUrl: null" in script
    assert client.get("/redoc").status_code == 404


def test_the_script_uses_only_elements_and_fields_that_the_page_has() -> None:
    page, script = (STATIC / "index.html").read_text(), (STATIC / "page.js").read_text()
    assert set(re.findall(r'\$\("([^"]+)"\)', script)) <= set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r"form\.(\w+)\.value", script)) <= set(re.findall(r'name="([^"]+)"', page))


@pytest.mark.skipif(shutil.which("node") is None, reason="no JavaScript engine here")
@pytest.mark.parametrize("name", ["page.js", "bounds.js", "earlier.js", "events.js", "plots.js", "docs.js"])
def test_the_scripts_parse(name: str, tmp_path: Path) -> None:
    module = tmp_path / Path(name).with_suffix(".mjs")
    module.write_text((STATIC / name).read_text())
    subprocess.run(["node", "--check", str(module)], check=True, capture_output=True)
