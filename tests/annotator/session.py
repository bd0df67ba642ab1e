"""A real server, killed if need be, and real browsers that use it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

ROOT = Path(__file__).resolve().parents[2]


def find(*names: str) -> str | None:
    """The first of some programs that is installed."""
    return next((path for name in names if (path := shutil.which(name))), None)


CHROMIUM = find("chromium", "chromium-browser", "google-chrome")
DRIVER = find("chromedriver", "chromium.chromedriver")


class Server:
    """``python annotate.py`` over a folder, in a process of its own."""

    def __init__(self, root: Path, *overrides: str, port: int = 0) -> None:
        self.root, self.overrides, self.port = root, overrides, port
        self.log = root.parent / f"{root.name}-server.log"

    def start(self) -> Server:
        """Start it, and wait until it says where it is."""
        with self.log.open("w") as log:
            command = [sys.executable, "annotate.py", f"root={self.root}", f"port={self.port}"]
            self.process = subprocess.Popen(
                [*command, *self.overrides],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for _ in range(1200):
            lines = [line for line in self.log.read_text().splitlines() if "http://" in line]
            if lines and "Ctrl+C" in self.log.read_text():
                self.links = {
                    line.partition(": ")[0].strip(): line.partition(": ")[2] for line in lines
                }
                self.url = next(iter(self.links.values()))
                # The same address after a restart.
                self.port = int(self.url.rpartition(":")[2].partition("/")[0])
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as Ctrl+C does; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


class Browser:
    """One person's browser."""

    def __init__(self, chrome: webdriver.Chrome) -> None:
        self.chrome = chrome

    def open(self, url: str) -> Browser:
        self.chrome.get(url)
        return self

    def size(self, width: int, height: int, *, mobile: bool = False, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": mobile})
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        calm = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, calm]})

    def fresh(self) -> Browser:
        """As if it had just been started: no cookies, no complaints, a wide and light screen."""
        self.open("about:blank")
        self.chrome.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.size(1400, 900)
        self.complaints()
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: Any) -> Any:
        for _ in range(1000):
            if value := self.run(f"return {script}", *arguments):
                return value
            time.sleep(0.03)
        raise AssertionError(
            f"never true: {script}; the page says {self.run('return document.body.innerText')}"
        )

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())"
        return self.run(script, selector)

    def click(self, selector: str) -> None:
        self.chrome.find_element("css selector", selector).click()

    def keys(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.chrome).send_keys(key).perform()

    def chord(self, held: str, key: str) -> None:
        ActionChains(self.chrome).key_down(held).send_keys(key).key_up(held).perform()

    def enter(self, name: str) -> None:
        """Give a name where the page asks for it."""
        self.wait("document.querySelector('#enter[open] input')")
        field = self.chrome.find_element("css selector", "#enter input")
        field.clear()
        field.send_keys(name + "\n")

    def saved(self) -> None:
        """Wait until the page says that all is saved."""
        self.wait("document.querySelector('.saved')?.dataset.state === 'saved'")

    def title(self) -> str:
        return self.text("#viewer-title").replace("\n", "")

    def drag(self, *places: tuple[float, float], pane: int = 0) -> None:
        """Press, move and release the mouse over pixels of the picture in a pane."""
        chain = ActionChains(self.chrome, duration=0)
        pointer = chain.w3c_actions.pointer_action
        for index, place in enumerate(places):
            pointer.move_to_location(*self.screen(*place, pane=pane))
            if index == 0:
                pointer.pointer_down()
        pointer.pointer_up()
        chain.perform()

    def screen(self, x: float, y: float, pane: int = 0) -> tuple[int, int]:
        """Where a pixel of the picture is on the screen."""
        left, top = self.run(
            "const e = document.querySelectorAll('.pane')[arguments[2]];"
            "const m = new DOMMatrix(getComputedStyle(e.querySelector('.sheet')).transform);"
            "const b = e.getBoundingClientRect();"
            "return [b.left + m.e + arguments[0] * m.a, b.top + m.f + arguments[1] * m.a];",
            *(x, y, pane),
        )
        return round(left), round(top)

    def picture(self, path: Path) -> None:
        """Save what is on the screen."""
        self.chrome.save_screenshot(str(path))

    def nameless(self) -> list[str]:
        """Roles of controls that a screen reader has no name for."""
        tree = self.chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        shown = [node for node in tree if not node["ignored"]]
        roles = ("button", "textbox", "searchbox", "slider", "radio", "combobox", "img", "link")
        of_role = [(node["role"]["value"], node.get("name", {}).get("value")) for node in shown]
        assert any(role == "button" for role, _ in of_role)
        return [role for role, name in of_role if role in roles and not name]

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.chrome.get_log("browser")]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own."""
    options = webdriver.ChromeOptions()
    assert CHROMIUM is not None
    options.binary_location = CHROMIUM
    arguments: Sequence[str] = (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *("force-prefers-reduced-motion", "hide-scrollbars", f"user-data-dir={profile}"),
    )
    for argument in arguments:
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as chrome:
        chrome.set_script_timeout(120)
        yield Browser(chrome).fresh()


def environment() -> dict[str, str]:
    """Of commands that tests start."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}
