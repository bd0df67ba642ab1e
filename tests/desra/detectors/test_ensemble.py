import json

import numpy as np
import pytest
import torch
from torch import Tensor

from desra.detectors import ArtifactDetector, Detector, Ensemble, LDLDetector, SSIMDetector
from desra.errors import InputError

from .pairs import pair, planes


class Fixed(Detector):
    """A detector that answers with a map given beforehand."""

    def __init__(self, plane: Tensor, threshold: float) -> None:
        super().__init__(threshold, 0)
        self.plane = plane

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        return self.plane.expand(len(gan_sr), 1, -1, -1)


def members(*thresholds: float) -> dict[str, Fixed]:
    generator = torch.Generator().manual_seed(0)
    return {
        str(index): Fixed(torch.rand(1, 1, 40, 50, generator=generator).double(), threshold)
        for index, threshold in enumerate(thresholds)
    }


@pytest.mark.parametrize(("vote", "needed"), [("union", 1), ("intersection", 4), ("majority", 3)])
def test_votes_count_the_members_candidates(vote, needed):
    some = members(0.2, 0.5, 0.9, 0.7)
    ensemble = Ensemble(some, vote, min_area=0)
    images = torch.zeros(2, 3, 40, 50)
    found = ensemble(images, images)
    votes = sum((member.plane < member.threshold).int() for member in some.values())
    expected = (votes >= needed).expand(2, -1, -1, -1)
    torch.testing.assert_close(ensemble.select(found.adjusted), expected)
    assert 0 < expected.float().mean() < 1
    assert found.distance.shape == (2, 1, 40, 50)
    assert 0 <= found.distance.min() <= found.distance.max() <= 1


def test_mean_is_of_maps_with_their_cutoffs_at_a_half():
    some = members(0.2, 0.6)
    found = Ensemble(some, "mean")(*[torch.zeros(1, 3, 40, 50)] * 2)
    stretched = [
        np.interp(member.plane.numpy(), [0, member.threshold, 1], [0, 0.5, 1])
        for member in some.values()
    ]
    np.testing.assert_allclose(found.adjusted, np.mean(stretched, 0), atol=1e-12)


def test_one_member_finds_what_it_finds_alone():
    mse_sr, gan_sr, _ = pair(120, 140)
    labels = torch.randint(0, 150, (1, 1, 120, 140)).to(torch.uint8)
    alone = ArtifactDetector(min_area=300)
    ensemble = Ensemble({"desra": alone}, min_area=300)
    found = ensemble(planes(mse_sr), planes(gan_sr), labels)
    expected = alone(planes(mse_sr), planes(gan_sr), labels)
    assert found.mask.any()
    assert torch.equal(found.mask, expected.mask)
    assert ensemble.rim == 5
    stages = ensemble.stages(ensemble.distance(planes(mse_sr), planes(gan_sr)), labels)
    assert torch.equal(stages["mask"], found.mask)


def test_members_of_every_kind_agree_where_there_is_an_artifact():
    mse_sr, gan_sr, marked = pair(120, 140)
    kinds = {"desra": ArtifactDetector(), "ldl": LDLDetector(), "ssim": SSIMDetector()}
    found = Ensemble(kinds, "intersection", min_area=300)(planes(mse_sr), planes(gan_sr))
    mask = found.mask[0, 0].numpy()
    assert (mask & marked).sum() > 0.6 * marked.sum()
    assert (mask & ~marked).sum() < 0.5 * marked.sum()  # regions are dilated


def test_settings_name_the_members():
    first = Ensemble({"desra": ArtifactDetector(), "ldl": LDLDetector()})
    second = Ensemble({"desra": ArtifactDetector(), "ldl": LDLDetector(0.01)})
    third = Ensemble({"desra": ArtifactDetector(), "ldl": LDLDetector()}, min_area=1)
    texts = {json.dumps(one.settings) for one in (first, second, third)}
    assert len(texts) == 3
    assert first.shown_settings["members"] == "desra, ldl"
    assert first.distance_settings == third.distance_settings != second.distance_settings


def test_what_cannot_be_used_is_refused():
    with pytest.raises(InputError, match="needs members"):
        Ensemble({})
    with pytest.raises(InputError, match="vote=loudest"):
        Ensemble({"desra": ArtifactDetector()}, vote="loudest")
