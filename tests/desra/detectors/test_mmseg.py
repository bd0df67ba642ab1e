"""A network of mmsegmentation as a detector; the reference is mmsegmentation's inference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from desra.detectors import MMSegDetector
from desra.errors import InputError
from desra.segmenters.openmmlab import find_config, import_mmseg

from .pairs import pair, planes

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:mmseg.*")
NAMES = {
    "SegFormer": "segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "UperNet": "swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512",
}


def narrow(model):
    """UperNet over Swin, PAL4VST's architecture, with few channels."""
    widths = [16, 32, 64, 128]
    model.backbone.update(embed_dims=16, depths=[2, 2, 1, 1], num_heads=[1, 2, 4, 8], init_cfg=None)
    model.decode_head.update(in_channels=widths, channels=16)
    model.auxiliary_head.update(in_channels=widths[2], channels=16, num_classes=2)


@pytest.fixture(scope="module", params=NAMES)
def network_of_two_classes(tmp_path_factory, request):
    """Config, checkpoint and network: two classes, on images of 64 pixels."""
    from mmengine.config import Config

    import_mmseg()
    from mmseg.apis import init_model

    folder = tmp_path_factory.mktemp("pal")
    config = Config.fromfile(str(find_config(NAMES[request.param])))
    if request.param == "UperNet":
        narrow(config.model)
    for step in config.test_pipeline:
        if step["type"] == "Resize":
            step["scale"] = (256, 64)
    config.model.decode_head.num_classes = 2
    config.dump(str(folder / "pal.py"))
    torch.manual_seed(0)
    network = init_model(str(folder / "pal.py"), device="cpu")
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                torch.nn.init.kaiming_normal_(parameter)
    torch.save({"state_dict": network.state_dict(), "meta": {}}, folder / "pal.pth")
    return folder / "pal.py", folder / "pal.pth", network


@pytest.mark.parametrize("artifact_class", [0, 1])
def test_map_is_the_other_classes_probability(network_of_two_classes, artifact_class):
    from mmseg.apis import inference_model

    config, checkpoint, network = network_of_two_classes
    detector = MMSegDetector(config, checkpoint, min_area=0, artifact_class=artifact_class)
    _, gan_sr, _ = pair(96, 128)
    images = torch.cat([planes(gan_sr), planes(gan_sr[::-1].copy())])
    found = detector(torch.zeros_like(images), images)
    result = inference_model(network, np.ascontiguousarray(gan_sr[..., ::-1]))
    expected = 1 - result.seg_logits.data.softmax(0)[artifact_class]
    torch.testing.assert_close(found.distance[0, 0].float(), expected, rtol=0, atol=1e-5)
    decided = result.pred_sem_seg.data[0] == artifact_class
    clear = (expected - 0.5).abs() > 1e-5
    assert torch.equal(detector.select(found.adjusted)[0, 0][clear], decided[clear])
    assert 0 < decided.float().mean() < 1
    assert found.distance.shape == (2, 1, 96, 128)
    assert F.l1_loss(found.distance[0], found.distance[1]) > 0
    assert detector.settings["artifact_class"] == artifact_class
    assert len(detector.settings["checkpoint"]) == 32


def test_what_cannot_be_used_is_refused(network_of_two_classes, tmp_path):
    config, checkpoint, _ = network_of_two_classes
    with pytest.raises(InputError, match=r"give detector\.config=FILE and detector\.checkpoint"):
        MMSegDetector(None, checkpoint)
    with pytest.raises(InputError, match="network of 2 classes has none of number 2"):
        MMSegDetector(config, checkpoint, artifact_class=2).prepare()
    with pytest.raises(InputError, match=r"detector\.checkpoint=.*no such file"):
        MMSegDetector(config, tmp_path / "none.pth").prepare()
    with pytest.raises(InputError, match=r"detector\.config=.*no such file"):
        MMSegDetector(tmp_path / "none.py", checkpoint).prepare()
