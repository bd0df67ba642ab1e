import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.crops import CropRule, Rounds, Window, draws_of
from datamodules.mask_store import Mask
from desra.errors import InputError


def plain_cut(image, window: Window, scale: int):
    """The same by NumPy alone: pad, slice, mirror, turn."""
    size, top, left = (scale * number for number in (window.size, window.top, window.left))
    pads = [
        (0, max(start + size - length, 0))
        for start, length in zip((top, left), image.shape[:2], strict=True)
    ]
    padded = np.pad(image, pads + [(0, 0)] * (image.ndim - 2), mode="symmetric")
    part = padded[top : top + size, left : left + size]
    return np.rot90(part[:, ::-1] if window.flip else part, window.turns)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 24),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
    st.integers(0, 3),
    st.data(),
)
def test_cuts_equal_numpy_for_every_size_turn_and_mirror_image(
    height, width, size, scale, flip, turns, data
):
    top = data.draw(st.integers(0, max(height - size, 0)))
    left = data.draw(st.integers(0, max(width - size, 0)))
    window = Window(top, left, size, flip, turns)
    rng = np.random.default_rng(height * 100 + width)
    image = rng.integers(0, 256, (height * scale, width * scale, 3), np.uint8)
    mask = rng.random((height * scale, width * scale)) < 0.3
    assert np.array_equal(window.cut(image, scale), plain_cut(image, window, scale))
    cut = window.cut_mask(Mask(mask), scale)
    assert cut.dtype == bool
    assert np.array_equal(cut, plain_cut(mask, window, scale))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**40))
def test_windows_lie_in_the_image_and_contain_the_artifact(height, width, size, index):
    scale = 4
    rng = np.random.default_rng(index)
    mask = np.zeros((height * scale, width * scale), bool)
    mask[rng.integers(height * scale), rng.integers(width * scale)] = True
    rule = CropRule(size * scale, artifact_bias=1.0)
    window = rule.window(draws_of(3, index), (height, width), scale, Mask(mask))
    assert 0 <= window.top <= max(height - size, 0)
    assert 0 <= window.left <= max(width - size, 0)
    assert window.cut_mask(Mask(mask), scale).any()


def chances(values, count):
    return np.bincount(values, minlength=count) / len(values)


def test_windows_without_bias_are_uniform_and_take_all_eight_orientations():
    rule = CropRule(8)
    windows = [rule.window(draws_of(0, index), (13, 11), 1) for index in range(4000)]
    np.testing.assert_allclose(chances([w.top for w in windows], 6), 1 / 6, atol=0.03)
    np.testing.assert_allclose(chances([w.left for w in windows], 4), 1 / 4, atol=0.03)
    orientations = chances([4 * w.flip + w.turns for w in windows], 8)
    np.testing.assert_allclose(orientations, 1 / 8, atol=0.03)


@pytest.mark.parametrize(("origin", "share"), [("pixel", 4 / 404), ("region", 0.5)])
def test_artifacts_are_drawn_by_pixel_or_by_region(origin, share):
    mask = np.zeros((100, 100), bool)
    mask[:20, :20] = True
    mask[90:92, 90:92] = True
    rule = CropRule(4, artifact_bias=1.0, artifact_origin=origin)
    windows = [rule.window(draws_of(0, i), (100, 100), 1, Mask(mask)) for i in range(3000)]
    small = np.mean([window.top > 50 for window in windows])
    assert small == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("bias", [0.0, 0.3, 1.0])
def test_bias_is_the_probability_of_a_drawn_artifact(bias):
    mask = np.zeros((200, 200), bool)
    mask[100, 100] = True
    rule = CropRule(4, artifact_bias=bias)
    windows = [rule.window(draws_of(0, i), (200, 200), 1, Mask(mask)) for i in range(3000)]
    hit = np.mean([window.cut_mask(Mask(mask), 1).any() for window in windows])
    assert hit == pytest.approx(bias, abs=0.03)


def test_a_changed_mask_leaves_the_draws_that_do_not_need_it():
    empty, some = Mask(np.zeros((64, 64), bool)), Mask(np.eye(64, dtype=bool))
    rule = CropRule(8, artifact_bias=0.5)
    for index in range(50):
        before, after = (rule.window(draws_of(1, index), (64, 64), 1, m) for m in (empty, some))
        assert (before.flip, before.turns) == (after.flip, after.turns)
        if draws_of(1, index).bias >= 0.5:
            assert before == after


def test_draws_are_a_function_of_seed_and_index_and_differ_between_them():
    seen = {draws_of(seed, index) for seed in (0, 1, 2**63, -1) for index in (*range(50), 2**40)}
    assert len(seen) == 4 * 51
    assert draws_of(7, 123) == draws_of(7, 123)


def test_rounds_visit_every_image_once_in_another_order():
    rounds = Rounds(10, seed=5)
    orders = [[rounds[10 * number + place] for place in range(10)] for number in range(4)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len(set(map(tuple, orders))) == 4
    assert [Rounds(10, 5)[visit] for visit in (37, 3, 12)] == [
        orders[3][7],
        orders[0][3],
        orders[1][2],
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"artifact_bias": 1.5}, {"artifact_bias": -0.1}, {"artifact_origin": "area"}],
)
def test_refuses_settings_out_of_range(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        CropRule(64, **wrong)


@pytest.mark.parametrize("gt_crop", [0, 2, 66])
def test_refuses_crops_that_are_no_multiple_of_the_scale(gt_crop):
    with pytest.raises(InputError, match=f"gt_crop={gt_crop}"):
        CropRule(gt_crop).size(4)
