"""The page's files of one image, read back with independent decoders."""

import base64
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from desra.leftovers import TEMPORARY_PREFIX
from desra.report import link_views, write_entry, write_regions, write_views
from desra.report.entries import file_name


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def data_of(path: Path) -> dict:
    call = path.read_text("utf-8")
    assert call.startswith("desraPage(")
    return json.loads(call[call.index("{") : call.rindex("}") + 1])


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.fixture
def arguments():
    mask = np.zeros((96, 128), bool)
    mask[10:30, 20:60] = True
    mask[50:90, 70:120] = True
    labels = np.full((96, 128), 255, np.uint8)
    labels[:, :64] = 4
    heat = np.linspace(0, 1, 128) * np.ones((96, 1))
    return {
        "images": {
            "LR": photo(24, 32, 1),
            "MSE-SR": photo(96, 128, 2),
            "GAN-SR": photo(96, 128, 3),
        },
        "heatmaps": {"Distance": heat},
        "outlines": {"Detected": mask},
        "labels": labels,
    }


def test_views_hold_the_pictures(tmp_path, arguments):
    paths = write_entry(tmp_path, "a/b", **arguments)
    images = tmp_path / "page" / "images"
    views = data_of(tmp_path / "page" / "views" / "a" / "b.js")
    assert all(path.is_file() for path in paths)
    assert [layer["name"] for layer in views["layers"]] == ["LR", "MSE-SR", "GAN-SR", "Distance"]
    assert (views["width"], views["height"]) == (128, 96)
    lr = np.asarray(Image.open(images / "lr" / "a" / "b.webp"))
    gan = np.asarray(Image.open(images / "gan-sr" / "a" / "b.webp"))
    assert (lr == arguments["images"]["LR"]).all()
    assert (gan == arguments["images"]["GAN-SR"]).all()
    heat = np.asarray(Image.open(images / "distance" / "a" / "b.jpg").convert("L")).astype(float)
    lightness = heat.mean(axis=0)
    assert lightness[0] < 5
    assert lightness[-1] > 225
    assert (np.diff(lightness) > -3).all()


def test_large_views_are_near_lossless_in_colour_too(tmp_path):
    large = photo(700, 800)
    write_views(tmp_path, "k", images={"LR": photo(175, 200), "GAN-SR": large})
    assert (tmp_path / "page" / "images" / "lr" / "k.webp").is_file()
    with Image.open(tmp_path / "page" / "images" / "gan-sr" / "k.jpg") as image:
        assert all(layer[1:3] == (1, 1) for layer in image.layer)  # chroma is not subsampled
        assert psnr(np.asarray(image), large) > 40


def test_grids_tell_class_and_value_under_the_pointer(tmp_path, arguments):
    write_entry(tmp_path, "k", **arguments)
    views = data_of(tmp_path / "page" / "views" / "k.js")
    grid = views["labels"]
    cells = np.repeat(grid["runs"][::2], grid["runs"][1::2]).reshape(-1, grid["width"])
    assert (cells == arguments["labels"][:: grid["step"], :: grid["step"]]).all()
    values = views["layers"][-1]["values"]
    heat = np.frombuffer(base64.b64decode(values["cells"]), np.uint8).reshape(-1, values["width"])
    ramp = np.asarray(Image.fromarray((np.linspace(0, 255, 128)).astype(np.uint8)[None]))
    expected = np.interp(np.linspace(0, 127, values["width"]), np.arange(128), ramp[0])
    assert abs(heat.astype(float) - expected).max() < 3


def test_label_grid_of_a_large_map_samples_the_centres_of_cells(tmp_path):
    labels = np.random.default_rng(0).integers(0, 150, (1, 600, 1000), dtype=np.uint8)[0]
    write_views(tmp_path, "k", images={"A": photo(600, 1000)}, labels=labels)
    grid = data_of(tmp_path / "page" / "views" / "k.js")["labels"]
    cells = np.repeat(grid["runs"][::2], grid["runs"][1::2]).reshape(-1, grid["width"])
    assert grid["step"] == 4
    assert (cells == labels[2::4, 2::4]).all()


def test_regions_list_what_was_found(tmp_path, arguments):
    facts = {"Detected": {1: {"score": 0.75}}}
    write_regions(
        tmp_path,
        "k",
        outlines=arguments["outlines"],
        labels=arguments["labels"],
        facts=facts,
    )
    (outline,) = data_of(tmp_path / "page" / "regions" / "k.js")["outlines"]
    assert outline["name"] == "Detected"
    assert outline["regions"] == [
        [1, 2000, [70, 50, 50, 40], [[255, 1.0]], "M70 50h50v40h-50z", {"score": 0.75}],
        [2, 800, [20, 10, 40, 20], [[4, 1.0]], "M20 10h40v20h-40z", {}],
    ]
    svg = ET.parse(tmp_path / "page" / "outlines" / "k.svg").getroot()
    assert svg.get("viewBox") == "0 0 128 96"
    assert len(svg.findall(".//{*}path")) == 1


def test_views_do_not_depend_on_masks_and_links_equal_them(tmp_path, arguments):
    shared = {name: arguments[name] for name in ("images", "heatmaps", "labels")}
    first = write_views(tmp_path / "one", "a/b", **shared)
    linked = link_views(tmp_path / "one", tmp_path / "two", "a/b")
    assert sorted(path.relative_to(tmp_path / "one") for path in first) == sorted(
        path.relative_to(tmp_path / "two") for path in linked
    )
    for path in first:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert other.samefile(path)
    # Writing one folder again leaves the other as it was.
    before = linked[0].read_bytes()
    write_views(tmp_path / "two", "a/b", images={"LR": photo(24, 32, 9)}, heatmaps={})
    assert first[0].read_bytes() == before


def test_links_where_the_file_system_has_none_are_copies(tmp_path, arguments, monkeypatch):
    def refuse(*_):
        raise OSError("Operation not supported")

    write_views(tmp_path / "one", "k", images=arguments["images"])
    monkeypatch.setattr("os.link", refuse)
    for path in link_views(tmp_path / "one", tmp_path / "two", "k"):
        original = tmp_path / "one" / path.relative_to(tmp_path / "two")
        assert path.read_bytes() == original.read_bytes()
        assert not path.samefile(original)


def test_links_to_views_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        link_views(tmp_path / "one", tmp_path / "two", "k")


def test_same_arguments_make_the_same_bytes_and_nothing_besides(tmp_path, arguments):
    paths = {name: write_entry(tmp_path / name, "a/b", **arguments) for name in ("one", "two")}
    for one, two in zip(paths["one"], paths["two"], strict=True):
        assert one.read_bytes() == two.read_bytes()
    written = sorted(path for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert written == sorted(paths["one"])
    assert not [path for path in written if path.name.startswith(TEMPORARY_PREFIX)]


def test_large_layers_are_reduced_and_the_size_is_kept(tmp_path):
    pixels = photo(300, 200)
    write_views(
        tmp_path, "k", images={"A": pixels}, heatmaps={"H": pixels[..., 0] / 255}, max_side=150
    )
    views = data_of(tmp_path / "page" / "views" / "k.js")
    assert (views["width"], views["height"]) == (200, 300)
    assert {(layer["width"], layer["height"]) for layer in views["layers"]} == {(100, 150)}
    assert Image.open(tmp_path / "page" / "images" / "a" / "k.webp").size == (100, 150)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_heat_is_clipped_and_rounded(tmp_path, dtype):
    heat = np.full((8, 8), 2.0, dtype)
    write_views(tmp_path, "k", images={"A": photo(8, 8)}, heatmaps={"H": heat})
    values = data_of(tmp_path / "page" / "views" / "k.js")["layers"][-1]["values"]
    assert set(base64.b64decode(values["cells"])) == {255}


def test_mask_of_another_size_is_refused(tmp_path, arguments):
    cropped = arguments["outlines"]["Detected"][5:-5, 5:-5]
    with pytest.raises(ValueError, match=r"k: Detected has shape \(86, 118\)"):
        write_entry(tmp_path, "k", **{**arguments, "outlines": {"Detected": cropped}})
    with pytest.raises(ValueError, match=r"k: labels has shape"):
        write_regions(tmp_path, "k", outlines={"Detected": cropped}, labels=arguments["labels"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "key", ["100%", "100%25", "a\\b", "tab\tname", "line\nbreak", "caf\udce9", "ünï/日本", "%5C"]
)
def test_file_names_are_one_to_one_and_can_be_written(tmp_path, key):
    plain = file_name(key)
    first, *escaped = plain.split("%")
    # Surrogates, D800 to DFFF, have four digits, and nothing else begins with D.
    sizes = [4 if part.startswith("D") else 2 for part in escaped]
    parts = [chr(int(p[:n], 16)) + p[n:] for p, n in zip(escaped, sizes, strict=True)]
    assert first + "".join(parts) == key
    write_regions(tmp_path, key, outlines={})
    assert (tmp_path / "page" / "regions" / f"{plain}.js").is_file()
