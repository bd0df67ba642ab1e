import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from desra import regions
from desra.detectors import ArtifactDetector, Detector, base, texture
from desra.errors import InputError
from desra.images import to_tensor
from desra.morphology import dilate_torch, erode_torch
from desra.runs import find_runs_torch, paint_runs_torch
from desra.semantics import texture_intervals
from desra.texture import gaussian_window, texture_distance_torch
from tests.reference.plain_detection import plain_adjust, plain_distance, plain_mask, plain_stages

INTERVALS = {row.index: row.interval for row in texture_intervals()}


def scene(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MSE-SR, GAN-SR with texture invented in blobs, and blocks of semantic classes."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 235, (height // 64 + 2, width // 64 + 2, 3))
    mse_sr = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    blobs = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), 9)
    # Texture of every strength, so that distances are on either side of any threshold.
    texture = 20 * (blobs / blobs.std()).clip(0) * rng.standard_normal((height, width))
    gan_sr = mse_sr + texture[..., None]
    classes = rng.integers(0, 150, (height // 40 + 1, width // 40 + 1)).astype(np.uint8)
    labels = cv2.resize(classes, (width, height), interpolation=cv2.INTER_NEAREST)
    return *(x.round().clip(0, 255).astype(np.uint8) for x in (mse_sr, gan_sr)), labels


def planes(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.reshape(*image.shape[:2], -1)).permute(2, 0, 1)[None]


@pytest.fixture
def _gpu_implementation(monkeypatch):
    """Run what runs on GPUs, on CPU tensors."""

    def distance(mse_sr, gan_sr, window_size, direction):
        weights = gaussian_window(window_size)
        return texture_distance_torch(mse_sr, gan_sr, weights, direction == "rougher")

    def dilate(mask, size, iterations=1):
        return dilate_torch(mask, iterations * (size - 1) + 1)

    monkeypatch.setattr(texture, "texture_distance", distance)
    monkeypatch.setattr(base, "erode", erode_torch)
    monkeypatch.setattr(base, "dilate", dilate)
    monkeypatch.setattr(regions, "find_runs", find_runs_torch)
    monkeypatch.setattr(regions, "paint_runs", paint_runs_torch)


def check_against_plain(settings: dict, labelled: bool, shape: tuple[int, int], seed: int) -> float:
    mse_sr, gan_sr, labels = scene(*shape, seed)
    found = ArtifactDetector(**settings)(
        planes(mse_sr), planes(gan_sr), planes(labels) if labelled else None
    )
    window_size = settings.get("window_size", 11)
    rim = window_size // 2
    inside = np.s_[rim : shape[0] - rim, rim : shape[1] - rim]
    distance = plain_distance(mse_sr, gan_sr, window_size)
    adjusted = plain_adjust(distance, labels[inside], INTERVALS if labelled else {})
    expected = np.zeros(shape, bool)
    expected[inside] = plain_mask(
        adjusted, settings.get("threshold", 0.7), settings.get("min_area", 4000)
    )
    assert found.mask.dtype == torch.bool
    np.testing.assert_array_equal(found.mask[0, 0], expected)
    # Where a window is flat in one image alone, the rounding of its variance counts beside ε.
    np.testing.assert_allclose(found.distance[0, 0][inside], distance, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.adjusted[0, 0][inside], adjusted, rtol=0, atol=1e-7)
    return expected.mean()


SETTINGS = [
    {},
    {"min_area": 300},
    {"threshold": 0.5, "min_area": 100},
    {"threshold": 0.85, "min_area": 2500},
    {"threshold": 0.6, "min_area": 0, "window_size": 3},
    {"threshold": 0.75, "min_area": 800, "window_size": 15},
]


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_masks_equal_plain_in_every_pixel(settings, labelled):
    shares = [check_against_plain(settings, labelled, (280, 331), seed) for seed in range(3)]
    assert 0 < max(shares) < 1, shares


@pytest.mark.usefixtures("_gpu_implementation")
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("settings", SETTINGS[1:5], ids=str)
def test_gpu_masks_equal_plain_in_every_pixel(settings, labelled):
    assert 0 < check_against_plain(settings, labelled, (201, 190), seed=0) < 1


@settings(max_examples=25, deadline=None)
@given(
    st.integers(11, 70), st.integers(11, 70), st.floats(0.1, 1), st.integers(0, 300),
    st.booleans(), st.integers(0, 2**31),
)  # fmt: skip
def test_small_images_equal_plain(height, width, threshold, min_area, labelled, seed):
    check_against_plain(
        {"threshold": threshold, "min_area": min_area}, labelled, (height, width), seed
    )


def test_batch_equals_single_images():
    detector = ArtifactDetector(min_area=200)
    scenes = [[planes(part) for part in scene(90, 120, seed)] for seed in range(3)]
    whole = detector(*(torch.cat(parts) for parts in zip(*scenes, strict=True)))
    assert whole.mask.any()
    for index, single in enumerate(scenes):
        for batched, alone in zip(whole, detector(*single), strict=True):
            assert torch.equal(batched[index], alone[0])


def test_mask_made_in_memory_equals_one_made_from_files():
    mse_sr, gan_sr, _ = scene(100, 90, 0)
    detector = ArtifactDetector(min_area=100)
    from_files = detector(planes(mse_sr), planes(gan_sr))
    noise = torch.rand(1, 3, 100, 90, generator=torch.Generator().manual_seed(0)) - 0.5
    from_network = detector(to_tensor(mse_sr), to_tensor(gan_sr) + 0.9 * noise / 255)
    assert from_files.mask.any()
    assert torch.equal(from_network.mask, from_files.mask)


def test_area_must_be_exceeded():
    distance = torch.ones(1, 1, 80, 80, dtype=torch.float64)
    # Eroded by 5x5 to 6x6, dilated by 13x13 to 18x18.
    distance[..., 30:40, 30:40] = 0
    assert ArtifactDetector(min_area=323).from_distance(distance).mask.sum() == 324
    assert not ArtifactDetector(min_area=324).from_distance(distance).mask.any()


def test_threshold_itself_is_no_artifact():
    distance = torch.full((1, 1, 60, 60), 0.7, dtype=torch.float64)
    assert not ArtifactDetector(0.7, min_area=0).from_distance(distance).mask.any()
    inside = ArtifactDetector(0.7, min_area=0).from_distance(distance - 1e-15).mask
    assert inside.sum() == 50 * 50


def test_rim_is_half_a_window_and_never_an_artifact():
    smooth = torch.full((1, 3, 60, 70), 90, dtype=torch.uint8)
    noise = torch.randint(0, 256, smooth.shape).to(torch.uint8)
    for window_size in (3, 11):
        detector = ArtifactDetector(min_area=0, window_size=window_size)
        rim = detector.rim
        assert rim == window_size // 2
        mask = detector(smooth, noise).mask
        assert mask[..., rim:-rim, rim:-rim].all()
        assert mask.sum() == (60 - 2 * rim) * (70 - 2 * rim)


def test_without_labels_no_second_map_is_made():
    mse_sr, gan_sr, labels = (planes(part) for part in scene(60, 70, 0))
    found = ArtifactDetector()(mse_sr, gan_sr)
    assert found.adjusted is found.distance
    with_labels = ArtifactDetector()(mse_sr, gan_sr, labels)
    assert (with_labels.adjusted >= found.distance).all()
    assert (with_labels.adjusted > found.distance).any()
    unknown = ArtifactDetector()(mse_sr, gan_sr, torch.full_like(labels, 255))
    assert torch.equal(unknown.adjusted, found.distance)


@pytest.mark.parametrize("labelled", [False, True])
def test_stages_lead_to_the_mask(labelled):
    mse_sr, gan_sr, labels = scene(150, 170, 1)
    detector = ArtifactDetector(min_area=400)
    given_labels = planes(labels) if labelled else None
    distance = detector.distance(planes(mse_sr), planes(gan_sr))
    found = detector.from_distance(distance, given_labels)
    stages = detector.stages(distance, given_labels)
    expected = plain_stages(found.adjusted[0, 0, 5:-5, 5:-5].numpy(), 0.7, 400)
    assert list(stages) == list(expected) == ["thresholded", "dilated", "filled", "mask"]
    for name, stage in stages.items():
        assert stage.any()
        assert stage.shape == distance.shape
        np.testing.assert_array_equal(stage[0, 0], np.pad(expected[name], 5))
    assert torch.equal(stages["mask"], found.mask)


def test_casting_the_module_does_not_touch_the_constants():
    mse_sr, gan_sr, labels = (planes(part) for part in scene(120, 130, 2))
    detector = ArtifactDetector(min_area=100)
    expected = detector(mse_sr, gan_sr, labels)
    found = detector.half()(mse_sr, gan_sr, labels)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not detector.state_dict()


def test_own_intervals_are_used(tmp_path):
    table = tmp_path / "intervals.csv"
    table.write_text("index,name,interval\n3,anything,19\n")
    mse_sr, gan_sr, _ = (planes(part) for part in scene(120, 130, 2))
    detector = ArtifactDetector(min_area=100, intervals=table)
    labels = torch.full((1, 1, 120, 130), 3, dtype=torch.uint8)
    assert not detector(mse_sr, gan_sr, labels).mask.any()
    assert detector(mse_sr, gan_sr, labels - 1).mask.any()


def test_settings_say_what_decides_the_mask(tmp_path):
    table = tmp_path / "intervals.csv"
    table.write_text("index,name,interval\n3,anything,19\n")
    variants = [
        {}, {"threshold": 0.6}, {"min_area": 10}, {"window_size": 9}, {"intervals": table},
        {"direction": "rougher"},
    ]  # fmt: skip
    texts = [json.dumps(ArtifactDetector(**variant).settings) for variant in variants]
    assert len(set(texts)) == len(texts)
    assert json.dumps(ArtifactDetector(0.7, 4000, 11).settings) == texts[0]
    assert ArtifactDetector().shown_settings["intervals"] == "released"
    assert ArtifactDetector(intervals=table).shown_settings["intervals"] == "intervals.csv"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"window_size": 10}, "window_size=10"),
        ({"window_size": 1}, "window_size=1"),
        ({"min_area": -1}, "min_area=-1"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"intervals": "no/such/table.csv"}, "no/such/table.csv"),
        ({"direction": "smoother"}, "direction=smoother"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(arguments, complaint):
    with pytest.raises(InputError, match=complaint):
        ArtifactDetector(**arguments)


def test_input_that_cannot_be_used_is_refused():
    detector = ArtifactDetector()
    mse_sr, gan_sr, labels = (planes(part) for part in scene(60, 70, 0))
    with pytest.raises(InputError, match="MSE-SR is 70x60, GAN-SR is 70x50"):
        detector(mse_sr, gan_sr[:, :, :50])
    with pytest.raises(InputError, match="smaller than the window"):
        detector(mse_sr[:, :, :9], gan_sr[:, :, :9])
    with pytest.raises(InputError, match="label map"):
        detector(mse_sr, gan_sr, labels[:, :, :50])


def plain_rougher(mse_sr: np.ndarray, gan_sr: np.ndarray) -> np.ndarray:
    """Distance at the valid positions, where texture that MSE-SR alone has counts as alike."""
    alike = []
    for channel in range(3):
        x, y = (image[..., channel].astype(np.float64) for image in (mse_sr, gan_sr))
        window = (11, 11), 1.5
        means, squares = zip(
            *((cv2.GaussianBlur(z, *window), cv2.GaussianBlur(z**2, *window)) for z in (x, y)),
            strict=True,
        )
        m, g = (s - e**2 for e, s in zip(means, squares, strict=True))
        constant = (0.03 * 255) ** 2
        ratio = (2 * np.sqrt((m + 1e-8).clip(0) * (g + 1e-8).clip(0)) + constant) / (
            m + g + constant
        )
        alike.append(np.where(m > g, 1, ratio)[5:-5, 5:-5])
    return np.mean(alike, 0)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_direction_keeps_only_texture_that_gan_sr_added(device, request):
    if device == "gpu":
        request.getfixturevalue("_gpu_implementation")
    smooth, textured, _ = scene(140, 150, 4)
    detector = ArtifactDetector(min_area=100, direction="rougher")
    both = ArtifactDetector(min_area=100)
    added = detector(planes(smooth), planes(textured))
    assert added.mask.any()
    assert not detector(planes(textured), planes(smooth)).mask.any()
    assert both(planes(textured), planes(smooth)).mask.any()
    np.testing.assert_allclose(
        added.distance[0, 0, 5:-5, 5:-5], plain_rougher(smooth, textured), rtol=0, atol=1e-7
    )


def test_direction_gives_one_mask_on_every_device(request):
    detector = ArtifactDetector(min_area=50, direction="rougher")
    first, second, _ = scene(140, 150, 5)
    second = np.concatenate([second[:, :75], first[:, 75:]], 1)
    first = np.concatenate([first[:, :75], scene(140, 150, 6)[1][:, 75:]], 1)
    pair = planes(first), planes(second)
    on_cpu = detector(*pair).mask
    request.getfixturevalue("_gpu_implementation")
    assert on_cpu[..., :75].any()
    assert not on_cpu[..., 90:].any()
    assert torch.equal(detector(*pair).mask, on_cpu)


class Contrast(Detector):
    """A detector as others are added: only the map is its own."""

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        return 1 - (mse_sr.double() - gan_sr.double()).abs().mean(1, keepdim=True) / 255


def test_another_map_gets_the_same_treatment():
    mse_sr, gan_sr, labels = scene(120, 130, 2)
    detector = Contrast(threshold=0.998, min_area=150)
    found = detector(planes(mse_sr), planes(gan_sr), planes(labels))
    assert found.mask.any()
    np.testing.assert_array_equal(
        found.mask[0, 0], plain_mask(found.distance[0, 0].numpy(), 0.998, 150)
    )
    assert detector.settings == {"detector": "Contrast", "threshold": 0.998, "min_area": 150}


def test_min_area_as_a_share_is_that_many_pixels_of_each_image():
    mse_sr, gan_sr = (torch.from_numpy(p).permute(2, 0, 1)[None] for p in scene(96, 128, 0)[:2])
    share = ArtifactDetector(min_area=0.02)
    pixels = ArtifactDetector(min_area=int(0.02 * 96 * 128))
    assert torch.equal(share(mse_sr, gan_sr).mask, pixels(mse_sr, gan_sr).mask)
    assert share.least_area(1000, 1000) == 20_000
    assert share.settings["min_area"] == 0.02
    with pytest.raises(InputError, match="a share of the image below 1"):
        ArtifactDetector(min_area=-0.5)


def test_a_min_area_that_is_much_of_the_image_is_said_once(caplog):
    detector = ArtifactDetector()
    flat = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    detector(flat, flat)
    detector(flat, flat)
    assert len(caplog.records) == 1
    assert "24 % of an image of 128x128" in caplog.text
    caplog.clear()
    ArtifactDetector()(*[torch.zeros(1, 3, 400, 400, dtype=torch.uint8)] * 2)
    assert not caplog.records
