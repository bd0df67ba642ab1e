"""The page in a real browser, opened from the disk as its readers do."""

import itertools
import json
import os
import shutil
import time
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.keys import Keys

from desra.report import Column, Scale, write_entry, write_page, write_regions, write_views
from desra.report.entries import FOLDER, file_name

COLUMNS = [
    Column("artifact_share", "artifact share", "share"),
    Column("regions", kind="integer"),
    Column("score"),
]
CLASSES = ["wall", "building, edifice", "sky", "floor", "tree"]
SHARES = {"few": 0.02, "sub/many": 0.4, "none": 0.0, "some 2": 0.1, "some 10": 0.1}


def find(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = find("chromium", "chromium-browser", "google-chrome")
    driver = find("chromedriver", "chromium.chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser; on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "no-first-run",
        "force-prefers-reduced-motion",
        "hide-scrollbars",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as chrome:
        metrics = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        yield chrome


class Page:
    """A page in the browser, and what tests ask of it."""

    visits = itertools.count()

    def __init__(self, browser: webdriver.Chrome, path) -> None:
        self.browser, self.url = browser, path.as_uri()
        browser.get_log("browser")
        browser.get_log("performance")

    def open(self, fragment: str = "") -> "Page":
        # A new query makes the browser load the page even where only the fragment differs.
        self.browser.get(f"{self.url}?{next(Page.visits)}{fragment}")
        if self.run("const kept = localStorage.length; localStorage.clear(); return kept"):
            self.browser.refresh()
        if fragment:
            self.settle()
        return self

    def run(self, script: str, *arguments):
        return self.browser.execute_script(script, *arguments)

    def wait(self, script: str, *arguments):
        for _ in range(500):
            if value := self.run(f"return {script}", *arguments):
                return value
            time.sleep(0.02)
        raise AssertionError(f"never true: {script}")

    def settle(self) -> None:
        """Wait until the viewer shows its pictures, decoded."""
        self.wait(
            "document.querySelector('#viewer[open] .sheet') !== null && "
            "[...document.querySelectorAll('.sheet img')].every(i => i.complete && i.naturalWidth)"
        )

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())"
        return self.run(script, selector)

    def one(self, selector: str):
        return self.browser.find_element("css selector", selector)

    def click(self, selector: str) -> None:
        self.one(selector).click()

    def keys(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def names(self) -> list[str]:
        return [name.replace("\n", "") for name in self.texts(".item .name")]

    def title(self) -> str:
        return self.texts("#viewer-title")[0].replace("\n", "")

    def views(self) -> list[str]:
        return self.run("return [...document.querySelectorAll('.clip')].map(e => e.dataset.layer)")

    def transforms(self) -> list[list[float]]:
        """Scale, left and top of every picture."""
        return self.run(
            "return [...document.querySelectorAll('.sheet')].map(e => {"
            "const m = new DOMMatrix(getComputedStyle(e).transform); return [m.a, m.e, m.f]; })"
        )

    def box(self, selector: str) -> dict[str, float]:
        return self.run(
            "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector
        )

    def hover(self, x: float, y: float) -> None:
        """Move the pointer to a pixel of the picture in the first pane."""
        self.pointer(x, y).perform()

    def pointer(self, x: float, y: float) -> ActionChains:
        (scale, left, top), pane = self.transforms()[0], self.box(".pane")
        chain = ActionChains(self.browser, duration=0)
        place = round(pane["left"] + left + x * scale), round(pane["top"] + top + y * scale)
        chain.w3c_actions.pointer_action.move_to_location(*place)
        return chain

    def wheel(self, selector: str, by: int, right: int = 0, down: int = 0) -> None:
        origin = ScrollOrigin.from_element(self.one(selector), right, down)
        ActionChains(self.browser).scroll_from_origin(origin, 0, by).perform()

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self) -> set[str]:
        """Schemes of all addresses that the page asked for (not the browser's own first tab)."""
        events = [json.loads(e["message"])["message"] for e in self.browser.get_log("performance")]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        own = [params for params in sent if urlparse(params["documentURL"]).scheme != "chrome"]
        return {urlparse(params["request"]["url"]).scheme for params in own}


def photo(height: int, width: int, seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def write_image(
    folder, key: str, share: float, labelled: bool = True, with_lr: bool = True
) -> None:
    mask = np.zeros((240, 320), bool)
    mask[40 : 40 + int(240 * share), 30:290] = True
    mask[200:220, 40:80] = share > 0
    labels = np.full(mask.shape, 2, np.uint8)
    labels[:, 160:] = 4
    lr = {"LR": photo(60, 80, 1)} if with_lr else {}
    write_entry(
        folder,
        key,
        images={**lr, "MSE-SR": photo(240, 320, 2), "GAN-SR": photo(240, 320, 3)},
        heatmaps={"Distance": np.linspace(0, 1, 320) * np.ones((240, 1))},
        outlines={"Detected": mask},
        labels=labels if labelled else None,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    rows: list[dict] = []
    for index, (key, share) in enumerate(SHARES.items()):
        write_image(folder, key, share, labelled=key != "few", with_lr=key != "few")
        score = None if key == "few" else index / 10
        row = {"image": key, "artifact_share": share, "regions": 2 * (share > 0), "score": score}
        rows.append(row)
    rows.insert(2, {"image": "bad", "error": "bad: the file is empty; write it again"})
    write_page(
        folder,
        rows,
        title="Artifacts",
        columns=COLUMNS,
        settings={"threshold": 0.7},
        summary={"IoU": "51.1 %"},
        scales={"Distance": Scale(1, 0, mark=0.7)},
        classes=CLASSES,
        files={"Mask": "DeSRA-Mask/{key}.png"},
    )
    return folder


@pytest.fixture
def page(browser, folder):
    page = Page(browser, folder / "index.html")
    yield page
    assert page.complaints() == []


def test_opens_from_the_disk_with_the_worst_first(page):
    page.open()
    assert page.names() == ["sub/many", "some 2", "some 10", "few", "none", "bad"]
    figures = dict(zip(page.texts("#figures dt"), page.texts("#figures dd b"), strict=True))
    assert figures == {
        "Images": "6",
        "With artifacts": "4",
        "Mean artifact share": "12.4\u00a0%",
        "IoU": "51.1 %",
        "Errors": "1",
    }
    assert page.texts("#settings div") == ["threshold\n0.7"]
    assert "the file is empty" in page.texts(".item .reason")[0]
    page.wait("[...document.querySelectorAll('.thumb img')].every(i => i.complete)")
    sizes = page.run("return [...document.querySelectorAll('.thumb img')].map(i => i.naturalWidth)")
    assert len(sizes) == 10  # thumbnail and outline of every image that has no error
    assert all(sizes)
    assert {"file"} <= page.requests() <= {"file", "data", "about"}


def test_outlines_lie_on_the_thumbnails(page):
    page.open()
    page.wait("[...document.querySelectorAll('.thumb img')].every(i => i.complete)")
    boxes = page.run(
        "return [...document.querySelectorAll('.thumb')].slice(0, 5).map(t =>"
        "[...t.children].map(i => JSON.stringify(i.getBoundingClientRect())))"
    )
    shapes = page.run(
        "return [...document.querySelectorAll('.thumb img')]"
        ".map(i => i.naturalWidth / i.naturalHeight)"
    )
    assert all(thumbnail == outline for thumbnail, outline in boxes)
    assert shapes == pytest.approx([4 / 3] * 10)


def test_search_filters_and_order(page):
    page.open()
    search = page.one("#search")
    search.send_keys("SOME")
    assert page.names() == ["some 2", "some 10"]
    assert page.texts("#count") == ["2 of 6 images"]
    search.send_keys(" 10")
    assert page.names() == ["some 10"]
    search.send_keys("x")
    assert page.names() == []
    page.click("#clear")
    assert len(page.names()) == 6
    page.click("#filter [data-value=flawed]")
    assert page.names() == ["sub/many", "some 2", "some 10", "few"]
    page.click("#filter [data-value=clean]")
    assert page.names() == ["none"]
    page.click("#filter [data-value=errors]")
    assert page.names() == ["bad"]
    page.click("#filter [data-value=all]")
    # The slider goes with the square root of the share: 40 of 100 is 0.16 of the largest, 0.4.
    page.run("const m = document.getElementById('minimum'); m.value = 40;"
             "m.dispatchEvent(new Event('input'))")  # fmt: skip
    assert page.texts("#minimum-text") == ["6.40\u00a0%"]
    assert page.names() == ["sub/many", "some 2", "some 10"]


def test_sorting_by_any_column_with_absent_values_last(page):
    page.open()
    choose = "const s = document.getElementById('sort'); s.value = arguments[0];" \
        "s.dispatchEvent(new Event('change'))"  # fmt: skip
    page.run(choose, "2")
    assert page.names() == ["some 10", "some 2", "none", "sub/many", "few", "bad"]
    page.click("#direction")
    assert page.names() == ["sub/many", "none", "some 2", "some 10", "few", "bad"]
    page.run(choose, "-1")
    assert page.names() == ["few", "none", "some 2", "some 10", "sub/many", "bad"]
    page.click("#layout [data-value=table]")
    assert page.texts("[role=columnheader]") == ["Name", "Artifact share", "Regions", "Score"]
    page.click("[role=columnheader][data-column='0'] button")
    assert page.names()[0] == "sub/many"
    assert page.texts("[role=row].row")[0].split("\n")[-3:] == ["40.0\u00a0%", "2", "0.100"]
    assert page.one("[data-column='0']").get_attribute("aria-sort") == "descending"
    page.click("[role=columnheader][data-column='0'] button")
    assert page.names()[0] == "none"


def test_keys_in_the_grid_open_and_return(page):
    page.open()
    page.keys("/", "so", Keys.ENTER, Keys.ARROW_RIGHT, Keys.ENTER)
    page.settle()
    assert page.title() == "some 10"
    page.keys(Keys.ESCAPE)
    page.wait("location.hash === ''")
    assert page.run("return document.activeElement.innerText").startswith("some 10")
    assert not page.run("return document.querySelector('#viewer').open")


def test_viewer_by_click_address_and_way_back(page):
    page.open()
    page.click(".card")
    page.settle()
    assert page.title() == "sub/many"
    assert page.views() == ["GAN-SR"]
    assert page.texts(".position") == ["1 of 5"]
    page.keys(Keys.ARROW_RIGHT)
    page.wait("document.querySelector('#viewer-title').innerText === 'some 2'")
    assert page.browser.current_url.endswith("#some%202")
    page.keys(Keys.ARROW_LEFT)
    page.wait("location.hash === '#sub/many'")
    page.browser.back()
    page.wait("!document.querySelector('#viewer').open")
    page.open("#sub/many")
    assert page.title() == "sub/many"
    page.open()
    page.run("location.hash = 'nobody'")
    page.wait("document.querySelector('#toast').innerText === 'No image is named nobody'")


def test_figures_regions_and_files_of_an_image(page, folder):
    page.open("#sub/many")
    facts = dict(zip(page.texts(".facts dt"), page.texts(".facts dd"), strict=True))
    assert facts == {
        "Size": "320 × 240", "Artifact share": "40.0\u00a0%", "Regions": "2", "Score": "0.100",
    }  # fmt: skip
    regions = page.texts(".regions li")
    assert regions[0].split("\n") == [
        "1", "24,960 px", "32.5\u00a0%", "sky\u00a050\u00a0%, tree\u00a050\u00a0%",
    ]  # fmt: skip
    assert regions[1].split("\n")[-1] == "sky\u00a0100\u00a0%"
    links = page.run("return [...document.querySelectorAll('.files a[download]')].map(a => a.href)")
    files = [unquote(urlparse(link).path) for link in links]
    assert files[0] == str(folder / "DeSRA-Mask" / "sub" / "many.png")
    assert all(os.path.isfile(file) for file in files[1:])
    assert len(files) == 5
    page.click(".regions li:nth-child(2) button")
    scale, left, top = page.transforms()[0]
    pane = page.box(".pane")
    assert scale > 5
    assert left + 60 * scale == pytest.approx(pane["width"] / 2)
    assert top + 210 * scale == pytest.approx(pane["height"] / 2)


def test_wipe_by_mouse_and_keys(page):
    page.open("#sub/many")
    page.keys("w")
    assert page.views() == ["MSE-SR", "GAN-SR"]
    parts = "return [...document.querySelectorAll('.clip')].map(e => getComputedStyle(e).clipPath)"
    assert page.run(parts) == ["inset(0px 50% 0px 0px)", "inset(0px 0px 0px 50%)"]
    pane, handle = page.box(".pane"), page.one(".handle")
    quarter = round(-pane["width"] / 4)
    ActionChains(page.browser, duration=0).drag_and_drop_by_offset(handle, quarter, 0).perform()
    assert abs(int(handle.get_attribute("aria-valuenow")) - 25) <= 1
    assert page.transforms()[0] == page.transforms()[1]
    page.keys(Keys.HOME)  # the handle has the focus
    assert page.run(parts) == ["inset(0px 100% 0px 0px)", "inset(0px 0px 0px 0%)"]
    page.keys(*[Keys.ARROW_RIGHT] * 5)
    assert handle.get_attribute("aria-valuenow") == "10"
    assert page.title() == "sub/many"
    page.keys(".")
    assert handle.get_attribute("aria-valuenow") == "15"
    page.keys("x")
    assert page.views() == ["GAN-SR", "MSE-SR"]
    page.keys("1")
    assert page.views() == ["GAN-SR", "LR"]
    page.run("const s = document.querySelector('.tag.left select'); s.value = 'Distance';"
             "s.dispatchEvent(new Event('change'))")  # fmt: skip
    assert page.views() == ["Distance", "LR"]


def test_zoom_and_pan_are_one_for_all_panes(page):
    page.open("#sub/many")
    page.keys("s")
    page.settle()
    first, second = page.transforms()
    assert first == second
    pane = page.box(".pane")
    scale, left, top = first
    page.wheel(".pane:last-child", -400, right=100, down=-60)
    after, other = page.transforms()
    assert after == other
    assert after[0] > 1.5 * scale
    pointer = np.array([pane["width"] / 2 + 100, pane["height"] / 2 - 60])
    before_pixel = (pointer - [left, top]) / scale
    after_pixel = (pointer - after[1:]) / after[0]
    assert after_pixel == pytest.approx(before_pixel, abs=1)
    target = page.one(".pane")
    ActionChains(page.browser, duration=0).drag_and_drop_by_offset(target, 40, -30).perform()
    moved, other = page.transforms()
    assert moved == other
    assert moved == pytest.approx([after[0], after[1] + 40, after[2] - 30])
    ActionChains(page.browser).double_click(target).perform()
    assert page.transforms() == [first, second]
    page.keys("+", "+")
    assert page.transforms()[0][0] == pytest.approx(scale * 1.5**2, rel=1e-4)
    page.keys("0")
    assert page.transforms() == [first, second]
    page.keys("z")
    assert page.transforms()[0][0] == 1
    (_, left, top), *_ = page.transforms()
    ActionChains(page.browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).perform()
    ActionChains(page.browser).key_up(Keys.SHIFT).perform()
    assert page.transforms()[0] == pytest.approx([1, left - page.box(".pane")["width"] / 4, top])
    assert page.title() == "sub/many"
    page.keys("a")
    page.settle()
    assert page.views() == ["LR", "MSE-SR", "GAN-SR", "Distance"]
    assert len({tuple(transform) for transform in page.transforms()}) == 1


def test_two_fingers_zoom(page):
    page.open("#sub/many")
    pane = page.box(".pane")
    middle = pane["left"] + pane["width"] / 2, pane["top"] + pane["height"] / 2
    scale, left, _ = page.transforms()[0]

    def touch(kind: str, spread: float) -> None:
        points = [{"x": middle[0] + side * spread, "y": middle[1], "id": side} for side in (0, 1)]
        points = [] if kind == "touchEnd" else [dict(p, x=p["x"] - spread / 2) for p in points]
        page.browser.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )

    touch("touchStart", 100)
    touch("touchMove", 150)
    touch("touchMove", 200)
    touch("touchEnd", 0)
    after = page.transforms()[0]
    assert after[0] == pytest.approx(2 * scale, rel=0.01)
    assert after[1] + 160 * after[0] == pytest.approx(left + 160 * scale, abs=2)


def test_layers_of_any_size_lie_on_each_other_and_pixels_show_when_large(page):
    page.open("#sub/many")
    rendering = "return document.querySelector('.sheet img').style.imageRendering"
    page.keys("z")
    assert page.run(rendering) == "auto"
    large = page.box(".sheet img")
    page.keys("1")
    page.settle()
    assert page.views() == ["LR"]
    assert page.box(".sheet img") == large
    assert page.run(rendering) == "pixelated"
    page.keys("3", "+", "+", "+")
    assert page.run(rendering) == "pixelated"
    page.keys("p", "p")
    assert page.run(rendering) == "auto"


def test_outlines_are_where_the_regions_are_and_can_be_hidden(page):
    page.open("#sub/many")
    pane = page.box(".pane")
    scale, left, top = page.transforms()[0]
    bounds = page.box("[data-outline=Detected] .tint")
    assert bounds["left"] == pytest.approx(pane["left"] + left + 30 * scale, abs=1)
    assert bounds["top"] == pytest.approx(pane["top"] + top + 40 * scale, abs=1)
    assert bounds["width"] == pytest.approx(260 * scale, abs=1)
    shown = "return getComputedStyle(document.querySelector('[data-outline]')).display !== 'none'"
    assert page.run(shown)
    page.keys("m")
    assert not page.run(shown)
    page.keys("m")
    assert page.run(shown)
    page.click(".outlines .switch")
    assert not page.run(shown)
    assert page.one(".outlines .switch").get_attribute("aria-pressed") == "false"


def test_tooltip_names_region_and_classes(page):
    page.open("#sub/many")
    page.hover(60, 100)
    text = page.texts(".tooltip")[0]
    assert text.split("\n") == [
        "Detected 1", "24,960 px · 32.5\u00a0%", "sky", "50\u00a0%", "tree", "50\u00a0%",
        "Here: sky", "Distance ≈ 0.82",
    ]  # fmt: skip
    assert (
        page.run("return document.querySelector('.lit').getAttribute('d')") == "M30 40h260v96h-260z"
    )
    page.hover(310, 20)
    assert page.texts(".tooltip")[0].split("\n") == ["Here: tree", "Distance ≈ 0.02"]
    assert page.texts(".readout")[0].split() == ["x", "310", "y", "20", "Distance", "≈", "0.02"]
    page.open("#few")
    page.hover(60, 210)
    assert page.texts(".tooltip")[0].split("\n")[:2] == ["Detected 2", "800 px · 1.04\u00a0%"]
    page.hover(310, 20)
    assert not page.one(".tooltip").is_displayed()


def test_image_without_lr_and_labels_keeps_the_keys_for_its_views(page):
    page.open("#few")
    assert page.texts(".tabs span") == ["MSE-SR", "GAN-SR", "Distance"]
    page.keys("1")
    assert page.views() == ["MSE-SR"]
    page.keys("9")
    assert page.views() == ["MSE-SR"]


def test_heat_map_has_its_scale(page):
    page.open("#sub/many")
    assert not page.one(".legend").is_displayed()
    page.keys("4")
    assert page.texts(".legend")[0].split("\n") == ["Distance", "1", "0", "threshold 0.7"]
    left = page.run("return parseFloat(document.querySelector('.ramp i').style.left)")
    assert left == pytest.approx(30)


def test_blinking_to_the_other_view_while_a_key_is_held(page):
    page.open("#sub/many")
    ActionChains(page.browser).key_down("b").perform()
    assert page.views() == ["MSE-SR"]
    ActionChains(page.browser).key_up("b").perform()
    assert page.views() == ["GAN-SR"]


def test_dark_and_light(page):
    page.open()
    background = "return getComputedStyle(document.documentElement).backgroundColor"
    first = page.run(background)
    page.click("#theme-button")
    second = page.run(background)
    assert first != second
    page.browser.refresh()
    assert page.run(background) == second
    page.keys("t")
    assert page.run(background) == first


def test_help_lists_the_keys(page):
    page.open("#few")
    page.keys("?")
    assert page.run("return document.querySelector('#help').open")
    assert "wipe between two views" in page.texts("#help")[0]
    page.keys(Keys.ESCAPE)
    assert page.run("return !document.querySelector('#help').open")
    assert page.run("return document.querySelector('#viewer').open")


def test_everything_that_can_be_used_has_a_name_and_pictures_have_words(page):
    page.open("#sub/many")
    page.keys("w")
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    page.keys(Keys.ESCAPE)
    tree += page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "link", "slider", "combobox", "searchbox", "radio", "dialog", "image"}
    used = [node for node in tree if node.get("role", {}).get("value") in roles]
    assert roles - {"dialog"} <= {node["role"]["value"] for node in used}
    assert [node for node in used if not node.get("name", {}).get("value")] == []


def test_regions_with_scores_and_outlines_of_several_kinds(browser, tmp_path):
    hit, miss = np.zeros((2, 240, 320), bool)
    hit[10:110, 10:110] = hit[150:170, 10:30] = True
    miss[10:60, 200:300] = True
    write_views(tmp_path, "k", images={"GAN-SR": photo(240, 320, 3)})
    facts = {"Hit": {1: {"score": 0.25}, 2: {"score": 0.9, "why": "above 0.5"}}}
    write_regions(tmp_path, "k", outlines={"Hit": hit, "Miss": miss}, facts=facts)
    rows = [{"image": "k", "artifact_share": 0.1}]
    path = write_page(
        tmp_path, rows, title="T", columns=COLUMNS[:1], outlines=("Hit", "Miss", "False alarm")
    )
    page = Page(browser, path).open()
    assert page.texts("#key li") == ["Hit", "Miss", "False alarm"]
    page.click(".card")
    page.settle()
    areas = [text.split("\n")[1] for text in page.texts(".regions li")]
    assert areas == ["10,000 px", "5,000 px", "400 px"]
    page.run("const s = document.querySelector('.title select'); s.value = 'score';"
             "s.dispatchEvent(new Event('change'))")  # fmt: skip
    texts = [text.split("\n") for text in page.texts(".regions li")]
    assert [text[1] for text in texts] == ["400 px", "10,000 px", "5,000 px"]
    assert [text[-1] for text in texts] == ["above 0.5", "score 0.25", "6.51\u00a0%"]
    assert texts[0][-2] == "score 0.9"
    page.hover(20, 160)
    assert page.texts(".tooltip")[0].split("\n")[0::2][:2] == ["Hit 2", "score 0.9"]
    assert "above 0.5" in page.texts(".tooltip")[0]
    page.keys("r")
    assert page.run("return document.querySelector('.regions .lit').dataset.region") == "Hit 1"
    page.click(".outlines li:nth-child(2) button")
    page.keys("0")
    page.hover(250, 30)
    assert not page.one(".tooltip").is_displayed()
    assert page.complaints() == []


def test_kinds_that_columns_count_filter_the_images(browser, tmp_path):
    columns = [
        COLUMNS[0],
        Column("kind_0", "waves", "integer"),
        Column("kind_1", "worms", "integer"),
    ]
    names, rows = ["waves", "worms"], []
    for key, counts in {"both": (2, 1), "waves alone": (3, 0), "none": (0, 0)}.items():
        write_views(tmp_path, key, images={"GAN-SR": photo(24, 32, 3)})
        write_regions(tmp_path, key, outlines={name: np.zeros((24, 32), bool) for name in names})
        kinds = {f"kind_{n}": count for n, count in enumerate(counts)}
        rows.append({"image": key, "artifact_share": 0.1 * sum(counts), **kinds})
    path = write_page(tmp_path, rows, title="T", columns=columns, outlines=names)
    page = Page(browser, path).open()
    assert page.texts("#key button") == names
    assert page.texts("#count") == ["3 images"]
    page.click("#key li:nth-child(1) button")
    assert page.texts("#count") == ["1 of 3 images"]
    page.click("#key li:nth-child(1) button")
    page.click("#key li:nth-child(2) button")
    assert page.texts("#count") == ["2 of 3 images"]
    assert page.complaints() == []


def test_missing_files_are_said(page, folder, browser, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / FOLDER / "regions" / "few.js").unlink()
    broken = Page(browser, tmp_path / "index.html")
    broken.browser.get(broken.url + "#few")
    broken.wait("document.querySelector('.message').innerText === 'page/regions/few.js is missing'")
    broken.keys(Keys.ARROW_RIGHT)
    broken.settle()
    assert broken.title() == "none"
    assert not broken.one(".message").is_displayed()
    assert all("ERR_FILE_NOT_FOUND" in text for text in broken.complaints())


HOSTILE = [
    "it's \"50%\" #1? <img src=x onerror=document.title='broken'>",
    "a&b;c=d+e~f,{}[]|^`",
    "ünï cödé/日本語/🙂",
    "back\\slash",
    "100%25",
    "new\nline",
    "-->/]]>",
    "caf\udce9",
    "list",
    "constructor",
    "__proto__",
]


def test_hostile_names(browser, tmp_path):
    for key in HOSTILE:
        write_image(tmp_path, key, 0.1)
        mask = tmp_path / "DeSRA-Mask" / f"{key}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.touch()
    rows = [{"image": key, "artifact_share": 0.1} for key in HOSTILE]
    path = write_page(
        tmp_path,
        rows,
        title="T",
        columns=COLUMNS[:1],
        classes=CLASSES,
        files={"Mask": "DeSRA-Mask/{key}.png"},
    )
    page = Page(browser, path).open()
    page.wait("[...document.querySelectorAll('.thumb img')].every(i => i.complete)")
    assert page.run("return document.querySelectorAll('.thumb img').length") == 2 * len(HOSTILE)
    assert page.run(
        "return [...document.querySelectorAll('.thumb img')].every(i => i.naturalWidth)"
    )
    spoken = page.run(  # as JSON, since the driver refuses half a surrogate pair
        "return JSON.stringify([...document.querySelectorAll('.card')].map(c => c.ariaLabel))"
    )
    shown = {label.removesuffix(", artifact share 10.0\u00a0%") for label in json.loads(spoken)}
    assert shown == set(HOSTILE)
    opened = set()
    page.click(".card")
    page.settle()
    for _ in HOSTILE:
        href = page.run("return document.querySelector('.files a').href")
        opened.add(os.fsdecode(os.path.relpath(
            os.fsencode(unquote(urlparse(href).path, errors="surrogateescape")),
            os.fsencode(tmp_path / "DeSRA-Mask"),
        )))  # fmt: skip
        page.keys(Keys.ARROW_RIGHT)
        page.wait(
            "document.querySelector('.files a').href !== arguments[0]"
            " || document.querySelector('#toast.shown')",
            href,
        )
        address = page.browser.current_url
    assert opened == {f"{key}.png" for key in HOSTILE}
    page.browser.get("about:blank")
    page.browser.get(address)  # an address as the browser writes it is a link to the same image
    page.settle()
    assert page.run("return document.title") != "broken"
    assert page.complaints() == []


def test_page_of_thousand_images_keeps_a_small_document(browser, tmp_path):
    write_views(tmp_path, "0", images={"GAN-SR": photo(30, 40, 0)})
    keys = [f"set {n // 100}/{n:04}" for n in range(1000)]
    thumbnail = tmp_path / FOLDER / "thumbnails" / "0.jpg"
    for key in keys:
        copy = tmp_path / FOLDER / "thumbnails" / f"{file_name(key)}.jpg"
        copy.parent.mkdir(exist_ok=True)
        os.link(thumbnail, copy)
        outline = tmp_path / FOLDER / "outlines" / f"{file_name(key)}.svg"
        outline.parent.mkdir(parents=True, exist_ok=True)
        outline.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"/>')
    rows = [{"image": key, "artifact_share": n / 2000} for n, key in enumerate(keys)]
    page = Page(browser, write_page(tmp_path, rows, title="T", columns=COLUMNS[:1])).open()
    count = "return [document.querySelectorAll('*').length, document.images.length]"

    def small() -> None:
        nodes, images = page.run(count)
        assert nodes < 2000
        assert 10 < images < 160

    small()
    assert page.names()[0] == "set 9/0999"
    page.run("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait("[...document.querySelectorAll('.name')].some(n => n.innerText.endsWith('0000'))")
    small()
    page.run("document.querySelector('.card').focus()")
    page.keys(Keys.HOME)
    page.wait("document.activeElement.innerText.startsWith('set 9/\\n0999')"
              " || document.activeElement.innerText.startsWith('set 9/0999')")  # fmt: skip
    page.click("#layout [data-value=table]")
    small()
    page.one("#search").send_keys("set 3/")
    assert page.texts("#count") == ["100 of 1,000 images"]
    small()
    assert page.complaints() == []
