"""The page in a real browser, before a whole system: what a person sees and clicks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.live,
    pytest.mark.xdist_group("live"),
    pytest.mark.skipif(None in (CHROMIUM, DRIVER), reason="NO BROWSER: scripts/browser.sh installs chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for switch in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1100"):
        options.add_argument(switch)
    with Chrome(options=options, service=Service(DRIVER)) as driver:
        yield driver


@pytest.fixture
def page(browser: Chrome, live_url: str) -> Iterator[Chrome]:
    browser.get(live_url)
    until(browser, lambda: "shapes-64" in plan(browser))
    yield browser
    complaints = [entry for entry in browser.get_log("browser") if "422" not in entry["message"]]
    assert complaints == []


def until(page: Chrome, holds: object) -> None:
    assert callable(holds)
    WebDriverWait(page, 30).until(lambda _: holds())


def field(page: Chrome, name: str) -> WebElement:
    return page.find_element(By.NAME, name)


def choose(page: Chrome, name: str, value: str) -> None:
    Select(field(page, name)).select_by_value(value)


def put(page: Chrome, name: str, value: str) -> None:
    """Type into a field, or move a slider, as the page would hear of it."""
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
    page.execute_script(script, field(page, name), value)


def plan(page: Chrome) -> str:
    return page.find_element(By.ID, "plan").text


def steps(page: Chrome) -> int:
    found = re.search(r"^steps\n(\d+)$", plan(page), re.MULTILINE)
    return int(found[1]) if found else 0


def draw(page: Chrome) -> None:
    before = len(earlier(page))
    page.find_element(By.ID, "draw").click()
    until(page, lambda: len(earlier(page)) == before + 1)


def earlier(page: Chrome) -> list[WebElement]:
    return page.find_elements(By.CSS_SELECTOR, "#earlier button")


def test_a_plan_follows_the_budget(page: Chrome) -> None:
    put(page, "amount", "10")
    until(page, lambda: steps(page) == 10)
    assert len(page.find_elements(By.CSS_SELECTOR, "#curve circle")) == 11
    choose(page, "kind", "evaluations")
    put(page, "amount", "8")
    until(page, lambda: "evaluations\n8" in plan(page))


def test_two_bounds_hold_together(page: Chrome) -> None:
    assert not page.find_element(By.ID, "also-field").is_displayed()
    choose(page, "kind", "min_psnr_db")
    choose(page, "also", "evaluations")
    put(page, "also_amount", "4")
    message = page.find_element(By.ID, "message")
    until(page, lambda: "allows 4" in message.text)
    put(page, "also_amount", "40")
    until(page, lambda: message.text == "" and 4 < steps(page) <= 20)


def test_a_bound_cannot_be_given_twice(page: Chrome) -> None:
    choose(page, "also", "latency_ms")
    choose(page, "kind", "latency_ms")
    assert field(page, "also").get_attribute("value") == ""
    assert not page.find_element(By.ID, "also-field").is_displayed()


def test_pictures_of_several_budgets_can_be_looked_at_again(page: Chrome) -> None:
    put(page, "seed", "5")
    for amount in ("3", "9"):
        put(page, "amount", amount)
        until(page, lambda amount=amount: steps(page) == int(amount))
        draw(page)
    image = page.find_element(By.ID, "image")
    latest = image.get_attribute("src")
    assert page.execute_script("return arguments[0].naturalWidth", image) == 64
    earlier(page)[-1].click()
    until(page, lambda: steps(page) == 3)
    assert image.get_attribute("src") != latest
    assert "seed 5" in page.find_element(By.ID, "caption").text


def test_a_click_on_the_frontier_chooses_that_budget(page: Chrome) -> None:
    points = page.find_elements(By.CSS_SELECTOR, "#frontier circle.budget")
    assert len(points) > 10
    points[2].click()
    assert field(page, "kind").get_attribute("value") == "evaluations"
    asked = field(page, "amount").get_attribute("value")
    until(page, lambda: f"evaluations\n{asked}" in plan(page))
