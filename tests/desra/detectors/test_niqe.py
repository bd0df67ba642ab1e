import numpy as np
import pytest
import torch
from scipy import ndimage, special
from scipy.io import savemat

from desra import niqe
from desra.detectors import NIQEDetector
from desra.errors import InputError

from .pairs import pair, planes

SHAPES = np.arange(0.2, 10.001, 0.001)
MOMENTS = special.gamma(2 / SHAPES) ** 2 / (special.gamma(1 / SHAPES) * special.gamma(3 / SHAPES))


def photo(height: int, width: int, seed: int) -> np.ndarray:
    """``(H, W, 3)`` uint8 with the spectrum of photos (amplitude falls as 1 / frequency)."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).normal(size=(height, width, 3)), axes=(0, 1))
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    frequency = np.hypot(y, x)[..., None]
    image = np.fft.ifft2(spectrum / np.maximum(frequency, 1 / max(height, width)), axes=(0, 1)).real
    return np.uint8(np.clip(127 + 50 * image / image.std(), 0, 255))


def plain_fit(values: np.ndarray) -> tuple[float, float, float]:
    left = np.sqrt(np.mean(values[values < 0] ** 2))
    right = np.sqrt(np.mean(values[values > 0] ** 2))
    ratio = left / right
    moment = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    moment *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = SHAPES[np.argmin(np.abs(MOMENTS - moment))]
    scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * scale, right * scale


def plain_features(patch: np.ndarray) -> list[float]:
    shape, left, right = plain_fit(patch)
    features = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        neighbours = np.roll(np.roll(patch, down, 0), across, 1)
        shape, left, right = plain_fit(patch * neighbours)
        mean = (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape)
        features += [shape, mean, left, right]
    return features


def plain_normalised(plane: np.ndarray) -> np.ndarray:
    line = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(line, line) / line.sum() ** 2
    mean = ndimage.correlate(plane, window, mode="nearest")
    variance = ndimage.correlate(plane**2, window, mode="nearest") - mean**2
    return (plane - mean) / (np.sqrt(np.abs(variance)) + 1)


def plain_half(plane: np.ndarray) -> np.ndarray:
    """Bicubic, widened to twice its size: every output pixel summed by hand."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    for axis in (0, 1):
        lines = np.moveaxis(plane, axis, 0)
        padded = np.pad(lines, [(8, 8), (0, 0)], "symmetric")
        out = np.zeros((-(-len(lines) // 2), lines.shape[1]))
        for index in range(len(out)):
            centre = 2 * index + 0.5
            taps = range(2 * index - 4, 2 * index + 6)
            weights = np.array([cubic((tap - centre) / 2) for tap in taps])
            out[index] = weights / weights.sum() @ padded[[tap + 8 for tap in taps]]
        plane = np.moveaxis(out, 0, axis)
    return plane


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A model of images of `photo`'s kind."""
    found = [
        niqe.patch_features(niqe.luma(planes(photo(480, 480, seed)))[0], starts, starts)
        for starts in [range(0, 480, 96)]
        for seed in range(4)
    ]
    features = torch.cat(found).view(-1, 36).numpy()
    path = tmp_path_factory.mktemp("niqe") / "model.npz"
    covariance = np.cov(features, rowvar=False)
    np.savez(path, mu_pris_param=features.mean(0)[None], cov_pris_param=covariance)
    return path


def test_the_published_model_is_the_default():
    model = NIQEDetector().pristine
    # Of the authors' modelparameters.mat.
    np.testing.assert_allclose(model.mean[:3], [2.60131368, 0.90570272, 0.81204778], rtol=1e-7)
    np.testing.assert_allclose(model.covariance, model.covariance.T)
    assert np.linalg.eigvalsh(model.covariance).min() > 0


def test_features_equal_plain():
    plane = niqe.luma(planes(photo(101, 140, 0)))[0]
    rows, columns = [0, 4], [0, 16, 44]
    features = niqe.patch_features(plane, rows, columns)
    whole = plane.numpy()
    levels = plain_normalised(whole)
    smaller = plain_normalised(plain_half(whole))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            expected = plain_features(levels[y : y + 96, x : x + 96])
            half = smaller[y // 2 : y // 2 + 48, x // 2 : x // 2 + 48]
            np.testing.assert_allclose(features[i, j, :18], expected, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(features[i, j, 18:], plain_features(half), rtol=1e-7)


def test_luma_is_matlabs():
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    assert niqe.luma(planes(colours.astype(np.uint8))).flatten().tolist() == [235, 16, 81, 145, 41]


def test_flat_patches_have_no_features():
    flat = torch.full((120, 120), 77.0, dtype=torch.float64)
    features = niqe.patch_features(flat, [0, 24], [0])
    assert features.isnan().any(-1).all()


def test_invented_texture_scores_worse_than_clean_patches(model_file):
    clean = photo(256, 320, 9)
    broken = clean.copy()
    noise = np.random.default_rng(0).normal(0, 40, (128, 128, 1))
    broken[64:192, 96:224] = np.clip(broken[64:192, 96:224] + noise, 0, 255)
    detector = NIQEDetector(model_file, threshold=15, min_area=1000, stride=32)
    marked = np.zeros((256, 320), bool)
    marked[64:192, 96:224] = True
    found = detector(planes(clean), planes(broken))
    mask = found.mask[0, 0].numpy()
    assert mask[128, 160]
    assert mask[marked].mean() > 0.9
    assert not mask[:, 310:].any()  # whose patches lie beside
    assert not detector(planes(broken), planes(clean)).mask[0, 0, 64:192, 96:224].any()


def test_map_meets_the_scores_at_the_patches_centres(model_file):
    picture = photo(144, 160, 3)
    detector = NIQEDetector(model_file, stride=32)
    scores = detector.score(planes(picture), planes(picture))[0, 0]
    assert scores.shape == (144, 160)
    features = niqe.patch_features(niqe.luma(planes(picture))[0], [0, 32, 48], [0, 32, 64])
    expected = detector.pristine.distances(features)
    around = scores[[80, 79, 80, 79], [79, 79, 80, 80]].mean()  # of the patch at 32, 32
    assert around.item() == pytest.approx(expected[1, 1].item(), rel=0.02)
    assert scores[0, 0] == expected[0, 0]
    offset = features[2, 1].numpy() - detector.pristine.mean
    square = offset @ np.linalg.inv(detector.pristine.covariance) @ offset
    assert expected[2, 1].item() == pytest.approx(np.sqrt(square))


def test_batch_equals_single_images(model_file):
    detector = NIQEDetector(model_file)
    images = [planes(photo(120, 130, seed)) for seed in (5, 6)]
    batch = torch.cat(images)
    both = detector(batch, batch).distance
    alone = torch.cat([detector(image, image).distance for image in images])
    torch.testing.assert_close(both, alone)


def test_models_of_other_programs_are_read(tmp_path, model_file):
    model = niqe.read_model(model_file)
    savemat(
        tmp_path / "m.mat", {"mu_prisparam": model.mean[None], "cov_prisparam": model.covariance}
    )
    for path in (tmp_path / "m.mat", model_file):
        again = niqe.read_model(path)
        np.testing.assert_array_equal(again.mean, model.mean)
        np.testing.assert_array_equal(again.covariance, model.covariance)


def test_what_is_no_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.savez(tmp_path / "small.npz", mu_pris_param=np.zeros(18), cov_pris_param=np.eye(18))
    np.savez(tmp_path / "object.npz", mu_pris_param=np.array({}, object), cov_pris_param=np.eye(36))
    for name, complaint in {
        "none.npz": "no such file",
        "text.npz": "not a NIQE model",
        "other.npz": "no mu_pris_param",
        "small.npz": "18 features",
        "object.npz": "not a NIQE model",
    }.items():
        with pytest.raises(InputError, match=complaint) as error:
            NIQEDetector(tmp_path / name).prepare()
        assert "\n" not in str(error.value)


def test_settings_that_cannot_be_used_are_refused(model_file):
    for arguments in ({"patch_size": 97}, {"patch_size": 8}, {"stride": 3}, {"stride": 0}):
        with pytest.raises(InputError, match="=".join(map(str, *arguments.items()))):
            NIQEDetector(model_file, **arguments)
    small, _, _ = pair(95, 120)
    with pytest.raises(InputError, match="120x95, smaller than NIQE's patches"):
        NIQEDetector(model_file)(planes(small), planes(small))
