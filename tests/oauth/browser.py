"""A real Chromium without a window, in which pages may run no script."""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

from tests.mcp.registries import ROOT
from tests.patience import PATIENCE

SCREENSHOTS = ROOT / "build" / "screenshots"
PACKAGES = {"chromium": "chromium", "chromedriver": "chromium-driver"}
"""Programs, and the Debian packages that they come in."""
SCHEMES = ("light", "dark")
SIZES = {"narrow": (360, 740), "wide": (1280, 800)}
NO_SCRIPT = 2
BODY = (By.TAG_NAME, "body")


def programs() -> dict[str, str]:
    """Where the browser and its driver are; fetched from Debian where they are not."""
    with Path(gettempdir(), "agent-hub-browser.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side, and apt-get does not
        _install([package for program, package in PACKAGES.items() if not shutil.which(program)])
    found = {program: shutil.which(program) for program in PACKAGES}
    return {program: path for program, path in found.items() if path is not None}


def _install(packages: list[str]) -> None:
    if packages:
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
        for command in (["apt-get", "update"], install):
            subprocess.run([*as_root, *command], check=True, stdout=subprocess.DEVNULL)


class Browser:
    """What a person does with it. Every call blocks: it belongs on a thread."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver

    def open(self, url: str) -> None:
        self._driver.get(url)

    @property
    def url(self) -> str:
        return self._driver.current_url

    def read(self, words: str) -> None:
        """See these words on the page, which may be still on its way after a button was pressed."""
        try:
            WebDriverWait(self._driver, PATIENCE).until(text_to_be_present_in_element(BODY, words))
        except TimeoutException:
            said = self._driver.find_element(*BODY).text
            raise AssertionError(f"{words!r} is not on the page, which says: {said}") from None

    def type(self, field: str, text: str) -> None:
        element = self._driver.find_element(By.NAME, field)
        element.clear()
        element.send_keys(text)

    def press(self, label: str) -> None:
        """Press the button, or open the fold, that says this."""
        path = f"//*[self::button or self::summary][contains(normalize-space(.), '{label}')]"
        self._driver.find_element(By.XPATH, path).click()

    def screenshots(self, name: str) -> list[Path]:
        """The page as it looks in light and dark, narrow and wide; nothing may stick out."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        made = []
        for scheme in SCHEMES:
            for size, (width, height) in SIZES.items():
                self._look(scheme, width, height)
                wide = self._evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{name} is {wide} wide on {width}"
                path = SCREENSHOTS / f"{name}-{scheme}-{size}.png"
                taken = self._command("Page.captureScreenshot", captureBeyondViewport=True)
                path.write_bytes(base64.b64decode(taken["data"]))
                made.append(path)
        return made

    def ground(self, scheme: str) -> str:
        """The colour behind everything, in one scheme."""
        self._look(scheme, *SIZES["wide"])
        return str(self._evaluate("getComputedStyle(document.body).backgroundColor"))

    def _look(self, scheme: str, width: int, height: int) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._command("Emulation.setEmulatedMedia", features=[feature])
        self._command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def _evaluate(self, expression: str) -> Any:
        found = self._command("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"]["value"]

    def _command(self, name: str, **parameters: Any) -> Any:
        return self._driver.execute_cdp_cmd(name, parameters)


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a new profile in this folder."""
    found = programs()
    options = ChromeOptions()
    options.binary_location = found["chromium"]
    for argument in (
        "--headless=new",
        "--no-sandbox",  # a test may run as root, where there is none
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
        # Nothing but this machine.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ):
        options.add_argument(argument)
    options.add_experimental_option(
        "prefs", {"profile.managed_default_content_settings.javascript": NO_SCRIPT}
    )
    driver = Chrome(options, Service(found["chromedriver"]))
    driver.implicitly_wait(PATIENCE)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
