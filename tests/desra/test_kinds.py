"""Planted kinds of artifacts are found again."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from desra.errors import InputError
from desra.kinds import Kinds, find_kinds, silhouette
from desra.region_features import FEATURES, region_features
from tests.conftest import smooth_photo

SIDE = 48


def wave(angle, period, shape=(SIDE, SIDE)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.sin(2 * np.pi / period * (x * np.cos(angle) + y * np.sin(angle)))


def plant(kind, random):
    """What a kind adds to a patch, ``(SIDE, SIDE, 3)`` levels; strength and details vary."""
    strength = random.uniform(12, 30)
    if kind == 0:  # vertical ripples
        return strength * wave(random.normal(0, 0.1), random.uniform(8, 11))[..., None]
    if kind == 1:  # horizontal ripples
        return strength * wave(np.pi / 2 + random.normal(0, 0.1), random.uniform(8, 11))[..., None]
    if kind == 2:  # fine checkers
        y, x = np.mgrid[:SIDE, :SIDE]
        return strength * np.where((y // 2 + x // 2) % 2, 1.0, -1.0)[..., None]
    if kind == 3:  # coloured noise
        noise = random.normal(0, strength, (SIDE // 4, SIDE // 4, 3)).repeat(4, 0).repeat(4, 1)
        return noise - noise.mean(-1, keepdims=True)
    return np.full((SIDE, SIDE, 1), strength * 1.5)  # a brighter patch without texture


def planted(count=60, seed=0):
    """Features of regions and the kinds that were planted in them."""
    random = np.random.default_rng(seed)
    features, kinds = [], []
    for index in range(count):
        mse_sr = smooth_photo(index, 96, 96)
        mse_sr = (0.3 * mse_sr + 90).astype(np.uint8)
        kind = index % 5
        top, left = random.integers(0, 96 - SIDE, 2)
        place = slice(top, top + SIDE), slice(left, left + SIDE)
        gan_sr = mse_sr.astype(np.float64) + random.normal(0, 2, mse_sr.shape)
        gan_sr[place] += plant(kind, random)
        mask = np.zeros((96, 96), bool)
        mask[place] = True
        gan_sr = gan_sr.clip(0, 255).round().astype(np.uint8)
        features.append(region_features(mse_sr, gan_sr, mask)[0].values)
        kinds.append(kind)
    return np.array(features), np.array(kinds)


@pytest.mark.parametrize("count", [5, None])
@pytest.mark.parametrize("seed", [0, 1])
def test_five_planted_kinds_are_found_again(count, seed):
    features, kinds = planted(seed=seed)
    found = find_kinds(features, count).of(features)
    assert adjusted_rand_score(kinds, found) >= 0.8


def test_kinds_of_one_set_are_recognised_in_another(tmp_path):
    features, _ = planted(seed=2)
    found = find_kinds(features, 5)
    found.renamed({0: "ripples"}).save(tmp_path / "kinds.json")
    again = Kinds.read(tmp_path / "kinds.json")
    assert again.names[0] == "ripples"
    others, planted_there = planted(seed=3)
    assert adjusted_rand_score(planted_there, again.of(others)) >= 0.8
    assert again.renamed({"ripples": "waves"}).names[0] == "waves"
    with pytest.raises(InputError, match=r"names\.halo: no such kind; there are ripples"):
        again.renamed({"halo": "x"})
    (tmp_path / "kinds.json").write_text("{}")
    with pytest.raises(InputError, match="not a file of kinds"):
        Kinds.read(tmp_path / "kinds.json")
    with pytest.raises(InputError, match="1 regions make no 2 kinds"):
        find_kinds(features[:1])


def test_silhouette_against_scikit_learn():
    random = np.random.default_rng(0)
    points, numbers = random.normal(size=(40, 3)), random.integers(0, 4, 40)
    distances = np.sqrt(((points[:, None] - points) ** 2).sum(-1))
    expected = silhouette_score(points, numbers)
    assert silhouette(distances, numbers) == pytest.approx(expected)


def test_features_say_what_was_added():
    flat = np.full((64, 64, 3), 120, np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[8:56, 8:56] = True
    mask[0, 0] = True  # a region of one pixel

    def features(added):
        gan_sr = (flat + np.round(added)).clip(0, 255).astype(np.uint8)
        regions = region_features(flat, gan_sr, mask)
        assert [(r.x, r.y, r.area) for r in regions] == [(0, 0, 1), (8, 8, 48 * 48)]
        return dict(zip(FEATURES, regions[1].values, strict=True))

    across = features(20 * wave(0, 8, (64, 64))[..., None])
    assert across["direction_cos"] > 0.9
    assert across["fineness"] == pytest.approx(np.log(2 * np.pi / 8), abs=0.15)
    assert across["strength"] == pytest.approx(np.log(20 / np.sqrt(2)), abs=0.2)
    assert features(20 * wave(np.pi / 4, 8, (64, 64))[..., None])["direction_sin"] > 0.9
    red = np.zeros((64, 64, 3))
    red[..., 0], red[..., 2] = 30, -30
    assert features(red)["colour"] > 0.7
    assert features(np.full((64, 64, 1), 32))["brightness"] == pytest.approx(1, abs=0.05)
    assert not region_features(flat, flat, np.zeros((64, 64), bool))
