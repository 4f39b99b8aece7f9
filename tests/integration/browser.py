"""A headless Chromium, as Debian packages it, driven by Selenium."""

from __future__ import annotations

import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tcpmesh.testing.child import wait_for

PROGRAMS = ("chromium", "chromedriver")

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--lang=en",
)
"""Without its sandbox, which root cannot have; it opens no page but ours."""


def missing() -> str:
    """What a browser wants that is not installed; empty where all is."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return (
        f"{' and '.join(absent)} (Debian: apt install chromium chromium-driver)" if absent else ""
    )


class Browser:
    """One window."""

    def __init__(self) -> None:
        options = Options()
        options.binary_location = shutil.which("chromium") or ""
        for each in ARGUMENTS:
            options.add_argument(each)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = Service(shutil.which("chromedriver") or "")
        self.driver = Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(30)
        self.driver.set_script_timeout(30)

    def close(self) -> None:
        """End it."""
        self.driver.quit()

    def size(self, width: int, height: int = 900) -> None:
        """Make the window so many pixels large."""
        self._command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name: str) -> None:
        """Let the reader prefer `light` or `dark`."""
        features = [
            {"name": "prefers-color-scheme", "value": name},
            # Else what is clicked on may still move.
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self._command("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Go to a page."""
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns that is given these."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        """The first element that a CSS selector finds, once there is one."""
        found: WebElement = wait_for(lambda: self.all(selector)[:1], selector)[0]
        return found

    def all(self, selector: str) -> list[WebElement]:
        """All that it finds."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """The text of what it finds, shown or not; empty where there is nothing."""
        script = "return document.querySelector(arguments[0])?.textContent ?? ''"
        return str(self.run(script, selector))

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until it has this text somewhere."""
        wait_for(lambda: text in self.text(selector), f"{text!r} in {selector}")

    def wait_no_text(self, selector: str, text: str) -> None:
        """Wait until it does not have this text."""
        wait_for(lambda: text not in self.text(selector), f"no {text!r} in {selector}")

    def click(self, element: WebElement) -> None:
        """Click on it, below what stays at the top of the window."""
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def write(self, selector: str, text: str) -> None:
        """Put a text into a field in place of the one that is there."""
        field = self.find(selector)
        field.clear()
        self.run("arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", field)
        field.send_keys(text)

    def complaints(self) -> list[str]:
        """What the browser says is wrong, since this was last asked."""
        entries = self.driver.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, path: Path, height: int) -> None:
        """Save what is shown, down to so many pixels."""
        width = int(self.run("return innerWidth"))
        self.size(width, height)
        self.driver.save_screenshot(str(path))

    def part(self, path: Path, top: int, bottom: int) -> None:
        """Save what is between these lines of the page, for which the window has to be that
        large.
        """
        width = int(self.run("return innerWidth"))
        self.size(width, bottom)
        clip = {"x": 0, "y": top, "width": width, "height": bottom - top, "scale": 1}
        found = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "clip": clip}
        )
        path.write_bytes(b64decode(found["data"]))

    def _command(self, name: str, **arguments: Any) -> None:
        self.driver.execute_cdp_cmd(name, arguments)
