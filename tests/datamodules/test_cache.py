import pickle

import numpy as np
import pytest
import torch

from datamodules.cache import ImageCache
from desra.images import read_rgb, write_png


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    sizes = {}
    for number, size in enumerate([(8, 10), (6, 4), (12, 12)]):
        path = tmp_path / f"{number}.png"
        write_png(path, rng.integers(0, 256, (*size, 3), np.uint8))
        sizes[path] = size
    return sizes


@pytest.mark.parametrize(("limit", "kept"), [(10_000, 3), (320, 2), (250, 1), (0, 0)])
def test_keeps_the_first_that_fit_and_reads_the_others(pictures, limit, kept):
    cache = ImageCache(limit)
    assert cache.load(list(pictures.items())) == []
    assert [cache.holds([path]) for path in pictures] == [True] * kept + [False] * (3 - kept)
    assert cache.kept_bytes == sum(3 * h * w for h, w in list(pictures.values())[:kept]) <= limit
    for path in pictures:
        assert np.array_equal(cache[path], read_rgb(path))


def test_serves_from_memory_once_loaded(pictures):
    cache = ImageCache(10_000)
    cache.load(list(pictures.items()))
    before = {path: cache[path].copy() for path in pictures}
    for path in pictures:
        path.unlink()
    assert all(np.array_equal(cache[path], before[path]) for path in pictures)


def test_finds_damaged_images_whether_they_fit_or_not(pictures):
    first, *_, last = pictures
    for path in (first, last):
        path.write_bytes(path.read_bytes()[:-30])
    problems = ImageCache(300).load(list(pictures.items()))
    assert [str(path) in line for path, line in zip((first, last), problems, strict=True)] == [
        True,
        True,
    ]
    kept, *others = pictures.items()
    assert ImageCache(300).load([kept], others) == problems[:1]
    assert ImageCache(300).load([], pictures.items()) == problems[:1]


def test_an_image_of_another_size_than_its_header_said_is_a_problem(pictures):
    path = next(iter(pictures))
    (problem,) = ImageCache(10_000).load([(path, (9, 9))])
    assert "has changed" in problem


def test_a_copy_in_another_process_is_whole(pictures):
    cache = ImageCache(10_000)
    cache.load(list(pictures.items()))
    copy = pickle.loads(pickle.dumps(cache))
    assert all(np.array_equal(copy[path], cache[path]) for path in pictures)
    assert isinstance(copy._buffer, torch.Tensor)
