import copy

import pytest
import torch
from torch.nn import functional as F

from models.generators.rrdbnet import DenseBlock
from models.generators.shared_features import SharedFeatures


def concatenated(block, x):
    """The dense block as it is written down in ESRGAN's paper."""
    seen = x
    for conv in block.convolutions[:-1]:
        seen = torch.cat((seen, F.leaky_relu(conv(seen), 0.2)), dim=1)
    return x + 0.2 * block.conv5(seen)


def gradients(forward, block, x, kind):
    block, x = copy.deepcopy(block), x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        output = forward(block, x)
    output.sin().sum().backward()
    return [output, x.grad, *(parameter.grad for parameter in block.parameters())]


def test_gradients_are_the_numerical_ones():
    torch.manual_seed(0)
    block = DenseBlock(3, 2).double()
    parameters = [part for conv in block.convolutions for part in (conv.weight, conv.bias)]
    for parameter in parameters:
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)

    def convolved(x, *parameters):
        return SharedFeatures.apply(x, 0.2, *parameters)

    assert torch.autograd.gradcheck(convolved, (x, *parameters))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kind", "share"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_output_and_gradients_are_those_of_concatenated_features(layout, kind, share):
    torch.manual_seed(0)
    block = DenseBlock(16, 8).to(memory_format=layout)
    block.conv2.weight.requires_grad_(False)
    x = torch.randn(2, 16, 7, 9).to(memory_format=layout)
    ours, plain = (gradients(f, block, x, kind) for f in (DenseBlock.forward, concatenated))
    assert ours[0].stride() == plain[0].stride()
    assert ours[0].dtype == plain[0].dtype
    for found, expected in zip(ours, plain, strict=True):
        if expected is None:  # the weight that is not trained
            assert found is None
            continue
        largest = expected.detach().abs().max().item()
        torch.testing.assert_close(found, expected, atol=share * largest, rtol=0)


def test_features_are_kept_once():
    block, x = DenseBlock(16, 8), torch.rand(2, 16, 12, 12)
    own = {parameter.data_ptr() for parameter in block.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(x)
    assert sum(kept.values()) == x.nbytes * (16 + 4 * 8) // 16
