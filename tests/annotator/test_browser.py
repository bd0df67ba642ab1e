"""Whole sessions in real browsers: by mouse and keys, with reloads, kills and two people."""

import time

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from selenium.webdriver.common.keys import Keys

from annotator.ground_truth import GroundTruthTask
from annotator.masks import MaskTask
from annotator.study import StudyTask
from desra.detectors import ArtifactDetector
from desra.images import read_rgb, write_png
from desra.masks import read_mask_image
from models.generators import load_generator
from tests.annotator.conftest import make_set
from tests.annotator.serving import serving
from tests.annotator.session import CHROMIUM, DRIVER, Server, browser
from tests.conftest import smooth_photo
from tests.docs.commands import ROOT, run_command

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no browser; on Debian: apt-get install chromium chromium-driver",
)
KEYS = ["one", "sub/two", "three"]
OPEN = (
    "document.querySelectorAll('.sheet img').length > 0 && document.title.startsWith(arguments[0])"
)
SHORT = (
    *("model=realesrgan", "perceptual=l1", "model.adversarial=null", "trainer=cpu"),
    *("iterations=2", "validate_every=2", "data.batch_size=2", "data.gt_crop=64"),
    *("data.val_share=0.34", "callbacks.artifact_validation.lpips=null"),
)
"""A run of seconds: pixel losses alone, two steps."""
TURNS = "return ['Undo', 'Redo'].map(n => !document.querySelector(`[title^=${n}]`).disabled)"
"""Whether there is something to undo, and to do again."""
FETCHED = (
    "new Set(performance.getEntriesByType('resource').map(e => e.name)"
    ".filter(name => name.includes('/gan_sr?'))).size"
)


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(chrome):
    return chrome.fresh()


@pytest.fixture
def root(tmp_path):
    return make_set(tmp_path / "set", KEYS)


def masks(root):
    detector = ArtifactDetector(min_area=100)
    return MaskTask(root, root / "annotations", detector, order="name")


def disc(shape, x, y, size):
    """A round brush, plainly: pixels whose centres are within its radius."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= (size / 2) ** 2


def test_masks_are_drawn_saved_undone_and_outlive_a_kill(root, page):
    server = Server(root, "detector.min_area=100", "task.order=name").start()
    try:
        _draw_and_kill(root, page, server)
    finally:
        server.kill()


def _draw_and_kill(root, page, server):
    path = root / "GT-Mask/one.png"
    detected = read_mask_image(root / "DeSRA-Mask/one.png")
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
    page.wait("document.querySelector('.saved').innerText.startsWith('Not saved')")
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
    # Its distance may have been asked for while there was no server; the fill has it all the same.
    page.keys("k")
    page.drag((30.5, 30.5))
    page.wait("!document.querySelector('[aria-label^=Undo]').disabled")
    page.saved()
    detected = read_mask_image(root / "DeSRA-Mask/sub/two.png")
    filled = read_mask_image(root / "GT-Mask/sub/two.png")
    assert (filled & detected == detected).all()
    page.keys("h", "w", "s", "a", "?")
    assert page.run("return document.querySelector('#help').open")
    assert [line for line in page.complaints() if "net::ERR_" not in line] == []


@pytest.mark.slow
def test_from_detect_to_a_finetuned_model(page, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    keys, weights = ("astronaut_7", "chelsea_3", "rocket_1"), ROOT / "samples/weights"
    for key in keys:
        photo = read_rgb(ROOT / f"samples/artifacts/LR/{key}.webp")
        write_png(tmp_path / f"photos/{key}.png", photo)
    gan = weights / "realesr-animevideov3-x4.pth"
    command = (
        f"python detect.py lr_root={tmp_path}/photos gan_weights={gan} "
        f"mse_weights={weights}/realesr-animevideov3-x4_mse.pth output_dir={tmp_path}/out "
        "detector.min_area=600 page=false data.num_workers=0"
    )
    assert run_command(command, [], monkeypatch) == 0
    root = tmp_path / "out"
    detector = ArtifactDetector(min_area=600)
    task = MaskTask(root, root / "annotations", detector, order="name", finetune=SHORT)
    with serving(task) as server:
        page.open(server.url)
        page.enter("anna")
        page.wait(OPEN, keys[0])
        page.keys("r", "y", "0", "b")
        page.drag((100.5, 30.5), (130.5, 60.5))
        page.keys(Keys.ENTER)
        page.wait(OPEN, keys[1])
        page.keys("N", Keys.ENTER)  # none of it is an artifact
        page.wait(OPEN, keys[2])
        page.keys("Y", Keys.ENTER)
        page.wait("document.body.innerText.includes('Nothing is left in the queue')")
        page.saved()
        page.click("button.finetune")
        for _ in range(300):  # a training run
            time.sleep(0.5)
            if page.run("return document.querySelector('.training').dataset.state") != "running":
                break
        page.click(".training a")
        first = page.chrome.current_window_handle
        page.chrome.switch_to.window(page.chrome.window_handles[-1])
        page.size(1400, 900)
        page.wait("document.title.startsWith('Artifacts before and after')")
        page.wait("document.querySelector('a.card img')?.naturalWidth")
        page.click("a.card")
        page.wait("document.querySelectorAll('.sheet img').length > 0")
        page.wait("[...document.images].every(e => e.complete && e.naturalWidth)")
        complaints = page.complaints()
        page.chrome.close()
        page.chrome.switch_to.window(first)
    assert complaints == []
    (run,) = (root / "annotations/finetuned").iterdir()
    assert OmegaConf.load(run / ".hydra/config.yaml").generator_weights == str(gan)
    before, (after,) = load_generator(gan), (run / "weights").glob("*_desra.pth")
    tensors = zip(before.parameters(), load_generator(after).parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in tensors)
    assert not read_mask_image(root / f"GT-Mask/{keys[1]}.png").any()


def test_by_keys_alone(root, page):
    with serving(masks(root)) as server:
        page.open(server.url)
        page.enter("anna")
        page.wait(OPEN, "one")
        page.keys("[" * 30 + "bd", *[Keys.ARROW_RIGHT] * 5, "d")
        page.saved()
        before = read_mask_image(root / "DeSRA-Mask/one.png")
        drawn = read_mask_image(root / "GT-Mask/one.png") & ~before
        rows, columns = np.nonzero(drawn)
        assert set(rows) == {48}
        assert list(columns) == list(range(columns[0], columns[0] + 6))


def test_the_next_image_is_drawn_before_the_server_works(root, page):
    with serving(masks(root)) as server:
        page.open(server.url)
        page.enter("dora")
        page.wait(OPEN, "one")
        page.wait(f"{FETCHED} === 2")  # the next one is made ready
        page.run(
            "window.order = []; const { fetch } = window;"
            "window.fetch = (...g) => { window.order.push(g[0]); return fetch(...g); };"
            "addEventListener('keydown', () => requestAnimationFrame(() =>"
            " window.order.push(document.title)), { capture: true });"
        )
        page.keys(Keys.ENTER)
        page.wait(OPEN, "sub/two")
        page.wait("window.order.length > 1")
        page.saved()
        assert page.run("return window.order.slice(0, 2)") == [
            "sub/two – Masks",
            "api/items/1/finish",
        ]


def test_two_people_share_a_queue(root, page, tmp_path):
    names = ["anna", "ben"]
    with browser(tmp_path / "profile") as ben, serving(masks(root), names) as server:
        page.open(server.links["anna"])
        page.wait(OPEN, "one")
        page.wait(f"{FETCHED} === 2")  # the next image was made ready for her, so ben gets another
        ben.open(server.links["ben"])
        ben.wait(OPEN, "three")
        for person in (page, ben):
            person.keys("l", Keys.ENTER)
            person.saved()
        page.wait(OPEN, "sub/two")
        ben.wait("document.body.innerText.includes('Nothing is left in the queue')")
        written = {path.stem for path in (root / "GT-Mask").rglob("*.png")}
        assert written == {"one", "three"}


def test_narrow_and_dark_with_a_name_for_every_control(root, page):
    with serving(masks(root)) as server:
        for dark in (False, True):
            page.size(420, 820, dark=dark)
            page.open(server.url)
            if not dark:
                page.enter("anna")
            page.wait(OPEN, "one")
            assert page.run("return document.documentElement.scrollWidth <= innerWidth")
            assert page.run("return document.querySelector('.pane').clientHeight > 150")
            ground = page.run(
                "return getComputedStyle(document.querySelector('.viewer')).backgroundColor"
            )
            assert (ground == "rgb(22, 24, 27)") is dark
        page.size(1400, 900)
        assert page.nameless() == []


def test_ground_truths_by_keys(page, tmp_path):
    for index in range(2):
        for number, folder in enumerate(("original", "01", "02")):
            photo = smooth_photo(10 * index + number, 60, 60)
            write_png(tmp_path / "sets" / folder / f"s{index}.png", photo)
    with serving(GroundTruthTask(tmp_path / "sets", tmp_path / "out", copies=1)) as server:
        page.open(server.url)
        page.enter("anna")
        page.wait("document.querySelectorAll('.pane').length === 3")
        assert page.run(TURNS) == [False, False]
        page.keys("1")
        assert page.run(TURNS) == [True, False]
        page.chord(Keys.CONTROL, "z")
        page.saved()
        page.open(server.url)
        page.wait("document.querySelectorAll('.pane').length === 3")
        assert page.run(TURNS) == [False, True]
        page.chord(Keys.CONTROL, "y")
        page.wait("document.querySelectorAll('[aria-checked=true]').length === 1")
        assert page.run(TURNS) == [True, False]
        page.keys("3", Keys.ENTER)
        page.saved()
        page.wait("document.querySelectorAll('[aria-checked=true]').length === 0")
        text = (tmp_path / "sets/labels/anna/s0.json").read_text()
        assert text.count('"Positive"') == text.count('"Negative"') == 1
        page.open(server.url)
        page.wait("document.querySelectorAll('.pane').length === 3")
        assert page.nameless() == []
        assert page.complaints() == []


def test_a_study_on_a_phone(page, tmp_path):
    for number, folder in enumerate("AB"):
        for index in range(2):
            write_png(tmp_path / folder / f"{index}.png", smooth_photo(5 * index + number, 60, 90))
    methods = {name: tmp_path / name for name in "AB"}
    question = {"text": "Which is sharper?", "methods": methods, "control": "detail"}
    task = StudyTask(tmp_path / "out", [question], controls=1, instructions="Look closely.")
    with serving(task, ["P1"]) as server:
        page.size(390, 780, mobile=True)
        page.open(server.links["P1"])
        page.wait("document.querySelector('#enter[open] form button')")
        page.click("#enter button")
        for number in range(3):
            page.wait(f"document.querySelector('progress')?.value === {number}")
            page.wait("document.querySelectorAll('.pane').length === 2")
            boxes = page.run(
                "return [...document.querySelectorAll('.pane')]"
                ".map(e => e.getBoundingClientRect().top)"
            )
            assert boxes[0] < boxes[1]  # one above the other on a narrow screen
            time.sleep(0.35)  # a second tap at once would be no answer to this pair
            page.click("[data-choice=left]")
        page.wait("document.body.innerText.includes('Thank you')")
        page.saved()
        assert (tmp_path / "out/votes.csv").read_text().count("\n") == 4
        assert page.nameless() == []
        assert page.complaints() == []
