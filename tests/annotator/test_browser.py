"""Whole sessions in real browsers: by mouse and keys, with reloads, kills and two people."""

import time

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from desra.images import write_png
from desra.masks import read_mask_image
from tests.annotator.conftest import make_set
from tests.annotator.session import CHROMIUM, DRIVER, Server, browser
from tests.conftest import smooth_photo

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no browser; on Debian: apt-get install chromium chromium-driver",
    ),
    pytest.mark.slow,
]
KEYS = ["one", "sub/two", "three"]
OPEN = (
    "document.querySelectorAll('.sheet img').length > 0 && document.title.startsWith(arguments[0])"
)


@pytest.fixture
def served(tmp_path):
    servers = []

    def start(root, *overrides):
        servers.append(Server(root, "detector.min_area=100", *overrides).start())
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def disc(shape, x, y, size):
    """A round brush, plainly: pixels whose centres are within its radius."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= (size / 2) ** 2


def test_masks_are_drawn_saved_undone_and_outlive_a_kill(served, tmp_path):
    root = make_set(tmp_path / "set", KEYS)
    server = served(root, "task.order=name")
    path = root / "GT-Mask/one.png"
    detected = read_mask_image(root / "DeSRA-Mask/one.png")
    with browser(tmp_path / "profile") as page:
        page.open(server.url)
        page.enter("anna")
        page.wait(OPEN, "one")
        page.keys("b")
        page.run(
            "const s = document.querySelector('.brush input'); s.value = 9;"
            "s.dispatchEvent(new Event('input'))"
        )
        page.drag((70.5, 20.5))
        page.saved()
        drawn = detected | disc(detected.shape, 70, 20, 9)
        assert np.array_equal(read_mask_image(path), drawn)

        page.keys("g")  # a square by its corners, then closed
        for corner in ((60.5, 42.5), (72.5, 42.5), (72.5, 54.5), (60.5, 54.5)):
            page.drag(corner)
        page.keys(Keys.ENTER)
        page.saved()
        after = read_mask_image(path)
        inside = np.zeros_like(drawn)
        inside[44:53, 62:71] = True
        assert (after[inside]).all()
        assert (after & ~drawn).sum() in range(100, 196)

        page.chord(Keys.CONTROL, "z")
        page.saved()
        assert np.array_equal(read_mask_image(path), drawn)
        page.open(server.url)  # redo outlives a reload
        page.wait(OPEN, "one")
        page.chord(Keys.CONTROL, "y")
        page.saved()
        assert np.array_equal(read_mask_image(path), after)

        server.kill()
        page.keys("l")  # drawn while there is no server
        time.sleep(0.5)
        assert "Not saved" in page.text(".saved")
        server.start()
        page.saved()
        filled = read_mask_image(path)
        assert filled[20:26, 20:30].all()
        assert np.array_equal(filled & after, after)

        page.keys("r", "n")  # the first region is the largest: rejected by one key
        page.saved()
        assert page.texts(".regions .rejected small") == ["rejected"]
        page.keys(Keys.ENTER)
        page.wait(OPEN, "sub/two")
        page.keys("h", "w", "s", "a", "?")
        assert page.run("return document.querySelector('#help').open")
        refused = [line for line in page.complaints() if "CONNECTION_REFUSED" not in line]
        assert refused == []


def test_by_keys_alone(served, tmp_path):
    root = make_set(tmp_path / "set", KEYS)
    server = served(root, "task.order=name")
    with browser(tmp_path / "profile") as page:
        page.open(server.url)
        page.enter("anna")
        page.wait(OPEN, "one")
        page.keys(*"[" * 30, "b", "d", *[Keys.ARROW_RIGHT] * 5, "d")
        page.saved()
        before = read_mask_image(root / "DeSRA-Mask/one.png")
        drawn = read_mask_image(root / "GT-Mask/one.png") & ~before
        rows, columns = np.nonzero(drawn)
        assert set(rows) == {48}
        assert list(columns) == list(range(columns[0], columns[0] + 6))


def test_two_people_share_a_queue(served, tmp_path):
    root = make_set(tmp_path / "set", KEYS)
    server = served(root, "task.order=name", "annotators=[anna,ben]")
    with browser(tmp_path / "p1") as anna, browser(tmp_path / "p2") as ben:
        anna.open(server.links["anna"])
        anna.wait(OPEN, "one")
        ben.open(server.links["ben"])
        ben.wait("document.querySelectorAll('.sheet img').length > 0")
        titles = {anna.title(), ben.title()}
        assert len(titles) == 2
        for person in (anna, ben):
            person.keys("l", Keys.ENTER)
        anna.wait("document.body.classList.length >= 0")
        for person in (anna, ben):
            person.saved()
        time.sleep(1)
        assert len(list((root / "GT-Mask").rglob("*.png"))) >= 2
        assert {anna.title(), ben.title()} & titles == set()


@pytest.mark.parametrize("dark", [False, True])
def test_narrow_and_dark(served, tmp_path, dark):
    root = make_set(tmp_path / "set", KEYS)
    server = served(root, "task.order=name")
    with browser(tmp_path / "profile") as page:
        page.size(420, 820, dark=dark)
        page.open(server.url)
        page.enter("anna")
        page.wait(OPEN, "one")
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        assert page.run("return document.querySelector('.pane').clientHeight > 150")
        ground = page.run(
            "return getComputedStyle(document.querySelector('.viewer')).backgroundColor"
        )
        assert (ground == "rgb(22, 24, 27)") is dark


def test_ground_truths_by_keys(served, tmp_path):
    for index in range(2):
        for number, folder in enumerate(("original", "01", "02")):
            photo = smooth_photo(10 * index + number, 60, 60)
            write_png(tmp_path / "sets" / folder / f"s{index}.png", photo)
    server = served(tmp_path / "sets", "task=ground_truth", "task.copies=1")
    with browser(tmp_path / "profile") as page:
        page.open(server.url)
        page.enter("anna")
        page.wait("document.querySelectorAll('.pane').length === 3")
        page.keys("1", "3", Keys.ENTER)
        page.saved()
        page.wait("document.querySelectorAll('[aria-checked=true]').length === 0")
        text = (tmp_path / "sets/labels/anna/s0.json").read_text()
        assert text.count('"Positive"') == text.count('"Negative"') == 1
        page.open(server.url)
        page.wait("document.querySelectorAll('.pane').length === 3")
        assert page.complaints() == []


def test_a_study_on_a_phone(served, tmp_path):
    for number, folder in enumerate("AB"):
        for index in range(2):
            write_png(tmp_path / folder / f"{index}.png", smooth_photo(5 * index + number, 60, 90))
    (tmp_path / "study").mkdir()
    methods = f"{{A: {tmp_path}/A, B: {tmp_path}/B}}"
    server = served(
        tmp_path / "study",
        "task=study",
        f"task.questions=[{{text: Which is sharper?, methods: {methods}, control: detail}}]",
        "task.controls=1",
        "annotators=1",
    )
    with browser(tmp_path / "profile") as page:
        page.size(390, 780, mobile=True)
        page.open(server.links["P1"])
        page.wait("document.querySelector('#enter[open] form button')")
        page.click("#enter button")
        for _ in range(3):
            page.wait("document.querySelectorAll('.pane').length === 2")
            boxes = page.run(
                "return [...document.querySelectorAll('.pane')]"
                ".map(e => e.getBoundingClientRect().top)"
            )
            assert boxes[0] < boxes[1]  # one above the other on a narrow screen
            time.sleep(0.5)
            page.click("[data-choice=left]")
            page.saved()
        page.wait("document.body.innerText.includes('Thank you')")
        assert (tmp_path / "study/annotations/votes.csv").read_text().count("\n") == 4
        assert page.complaints() == []
