"""The pages in a real browser: a search from the form to the export."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

import rlnas

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)

SIZES = {"desktop": (1280, 1500), "phone": (390, 1500)}
SHOTS = os.environ.get("RLNAS_SCREENSHOTS")
"""Folder to which pictures of the pages go, to be looked at."""


@contextmanager
def served(root, **environment):
    words = [sys.executable, "-m", "rlnas", "serve", "--root", str(root), "--port", "0"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        address = process.stdout.readline().split()[-1]
        assert address.startswith("http://127.0.0.1:")
        yield address.rstrip("/"), process
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("browser") / "runs") as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    folder = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(word)
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(folder), "download.prompt_for_download": False}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.downloads = folder
    driver.set_window_size(*SIZES["desktop"])
    yield driver
    driver.quit()


def until(check, seconds=180):
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
    return found


def shot(browser, name):
    if SHOTS:
        for size, bounds in SIZES.items():
            browser.set_window_size(*bounds)
            time.sleep(0.5)
            browser.save_screenshot(f"{SHOTS}/{name}-{size}.png")
        browser.set_window_size(*SIZES["desktop"])


def one(browser, selector):
    return browser.find_element("css selector", selector)


def text(browser, selector):
    return one(browser, selector).text


def test_search_from_the_form_to_the_export(server, browser):
    address, _ = server
    browser.get(f"{address}/new")
    one(browser, "[name='budget.trials']").send_keys("none")
    one(browser, "#start").click()
    told = until(lambda: text(browser, "[data-field='budget.trials'] .problem"))
    assert "expected a whole number, got 'none'" in told
    shot(browser, "new")
    for name, value in (("budget.trials", "60"), ("recipe.epochs", "1"), ("name", "seen")):
        field = one(browser, f"[name='{name}']")
        field.clear()
        field.send_keys(value)
    one(browser, "#start").click()
    until(lambda: browser.current_url.endswith("/searches/seen"))

    until(lambda: text(browser, "#state") == "searching")
    until(lambda: int(text(browser, "#trials").split()[0]) >= 2)
    first = int(text(browser, "#trials").split()[0])
    until(lambda: int(text(browser, "#trials").split()[0]) > first)  # live, nothing reloaded
    assert browser.find_elements("css selector", "#curve circle.dot")

    pressed = """
        const row = [...document.querySelectorAll('#t-table tbody tr')].find(
            (each) => each.querySelector('.state.done'));
        row?.querySelector('button').click();
        return Boolean(row)"""
    until(lambda: browser.execute_script(pressed))  # in one step: rows come and go
    until(lambda: one(browser, "#trial").is_displayed())
    drawn = "return document.querySelector('#d-diagram img')?.naturalWidth"
    until(lambda: browser.execute_script(drawn))
    shot(browser, "trial")
    one(browser, "#trial form button").click()

    one(browser, "[data-do='stop']").click()
    until(lambda: text(browser, "#state") == "stopped")
    pressed = """
        const link = document.querySelector("#files a[href$='architecture.json']");
        link?.click();
        return Boolean(link)"""
    until(lambda: browser.execute_script(pressed))
    shot(browser, "search")
    path = browser.downloads / "seen-architecture.json"
    until(path.is_file)
    assert json.loads(path.read_text())["class_name"] == "Functional"

    browser.get(f"{address}/")
    until(lambda: browser.find_elements("css selector", "#searches svg polyline"))
    assert text(browser, "#searches .state") == "stopped"
    shot(browser, "list")
    severe = [each for each in browser.get_log("browser") if each["level"] == "SEVERE"]
    assert [each for each in severe if "422" not in each["message"]] == []


def test_tensorboard_is_behind_the_server_which_loads_no_tensorflow(server, browser):
    address, process = server
    browser.get(f"{address}/tensorboard/")
    until(lambda: browser.find_elements("css selector", "tb-webapp, app-root"))
    strange = http.client.HTTPConnection(address.removeprefix("http://"))
    strange.request("GET", "/tensorboard/", headers={"X-Strange": b"\xff\xfe"})
    assert strange.getresponse().status == 200
    strange.close()
    data = f"{address}/tensorboard/data/runs"
    browser.get(data)
    until(lambda: "seen" in (browser.refresh() or browser.page_source))
    browser.get(f"{address}/tensorboard/")
    time.sleep(5)
    shot(browser, "tensorboard")
    with open(f"/proc/{process.pid}/maps") as maps:
        assert "tensorflow" not in maps.read()


def test_token_opens_the_pages_until_somebody_logs_out(browser, tmp_path):
    token = "a" * 20
    with served(tmp_path / "runs", RLNAS_TOKEN=token) as (address, _):
        browser.get(f"{address}/trash")
        until(lambda: "/login" in browser.current_url)
        one(browser, "#token").send_keys("b" * 20, "\n")
        until(lambda: "not a token" in browser.page_source)
        one(browser, "#token").send_keys(token, "\n")
        until(lambda: browser.current_url == f"{address}/trash")
        assert text(browser, "h1") == "Trash"
        one(browser, "header form button").click()
        until(lambda: "/login" in browser.current_url)
        browser.get(f"{address}/trash")
        until(lambda: "/login" in browser.current_url)


def test_rewards_that_differ_in_the_last_bit_are_drawn(server, browser):
    address, _ = server
    config = {
        "name": "alike",
        "engine": {"executor": "external", "workers": 2},
        "controller": {"name": "random"},
        "space": {"input_shape": [8, 8, 1], "classes": 10},
        "budget": {"trials": 2},
    }
    with rlnas.Client(address) as client:
        search = client.create(config)
        trials = []
        while len(trials) < 2:
            trials += search.ask(1, wait=5)[0]
        for trial, reward in zip(trials, (0.5, 0.5000000000000001), strict=True):
            trial.tell(reward)
        assert search.wait(60)["state"] == "done"
    browser.get(f"{address}/searches/alike")
    until(lambda: len(browser.find_elements("css selector", "#curve circle")) == 2)
    assert len(browser.find_elements("css selector", "#curve .axis")) < 20
