import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from desra.errors import InputError
from desra.metrics import ArtifactMetrics, count_row, score_rows, split_regions


@st.composite
def mask_pairs(draw):
    shape = draw(st.tuples(st.integers(1, 10), st.integers(1, 10)))
    return [draw(npst.arrays(bool, shape, fill=st.booleans())) for _ in range(2)]


@settings(deadline=None, max_examples=80)
@given(mask_pairs(), st.sampled_from([0.3, 0.5, 1.0]))
def test_split_regions_go_whole_to_one_side(pair, min_share):
    mask, inside = pair
    hits, others = split_regions(mask, inside, min_share)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    for number in range(1, count + 1):
        side = hits if inside[labels == number].mean() >= min_share else others
        assert side[labels == number].all()
    assert np.array_equal(hits | others, mask)
    assert not (hits & others).any()


@settings(deadline=None, max_examples=40)
@given(st.lists(mask_pairs(), max_size=4))
def test_scores_over_rows_are_those_over_masks(pairs):
    metrics = ArtifactMetrics()
    for mask, gt_mask in pairs:
        metrics.update(torch.from_numpy(mask)[None, None], torch.from_numpy(gt_mask)[None, None])
    table = json.loads(json.dumps([count_row(*pair, border=0) for pair in pairs]))
    scores = score_rows(table)
    if not pairs:
        assert scores["iou"] is None
        assert scores["images"] == 0
        return
    expected = {name: value.item() for name, value in metrics.compute().items()}
    assert scores.keys() == expected.keys()
    for name, value in expected.items():
        found = np.nan if scores[name] is None else scores[name]
        assert found == pytest.approx(value, abs=1e-12, nan_ok=True)


def test_the_rim_is_left_out_of_the_counts():
    mask, gt_mask = np.ones((16, 13), bool), np.ones((16, 13), bool)
    gt_mask[5:-5, 5] = False
    counts = count_row(mask, gt_mask)
    assert (counts["intersection"], counts["union"]) == (12, 18)
    with pytest.raises(InputError, match="give masks of one size"):
        count_row(mask, gt_mask[1:])
