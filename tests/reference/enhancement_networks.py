"""RCAN, ELAN and the pixel-shuffle RRDBNet as plain functions of a state dict and an image.

Written from their papers and the list of the release's keys; windows are visited one by one.
"""

import torch
from torch.nn import functional as F

MEAN = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)


def conv(state, name, x):
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)


def count(state, prefix):
    return 1 + max(int(key[len(prefix) :].split(".")[0]) for key in state if key.startswith(prefix))


def rcan(state, image):
    first = conv(state, "conv_first", (image - MEAN) * 255)
    x = first
    for group in range(count(state, "body.")):
        inside = x
        name = f"body.{group}.residual_group."
        for block in range(count(state, name)):
            part = f"{name}{block}.rcab."
            y = conv(state, f"{part}2", conv(state, f"{part}0", inside).relu())
            gate = y.mean((2, 3), keepdim=True)
            gate = conv(state, f"{part}3.attention.1", gate).relu()
            gate = conv(state, f"{part}3.attention.3", gate).sigmoid()
            inside = inside + y * gate
        x = x + conv(state, f"body.{group}.conv", inside)
    x = first + conv(state, "conv_after_body", x)
    return conv(state, "conv_last", x) / 255 + MEAN


def shifted(x):
    """Four fifths of the channels, each moved by one pixel, zeros coming in."""
    fifth = x.shape[1] // 5
    moved = x.clone()
    moved[:, : 4 * fifth] = 0
    moved[:, :fifth, :, :-1] = x[:, :fifth, :, 1:]
    moved[:, fifth : 2 * fifth, :, 1:] = x[:, fifth : 2 * fifth, :, :-1]
    moved[:, 2 * fifth : 3 * fifth, :-1] = x[:, 2 * fifth : 3 * fifth, 1:]
    moved[:, 3 * fifth : 4 * fifth, 1:] = x[:, 3 * fifth : 4 * fifth, :-1]
    return moved


def attention(x, window, half):
    """Windows beginning at ``half``, wrapped around the edges, one by one."""
    height, width = x.shape[2:]
    result = torch.empty_like(x[:, : x.shape[1] // 2])
    for top in range(half, height + half, window):
        for left in range(half, width + half, window):
            rows = [(top + step) % height for step in range(window)]
            columns = [(left + step) % width for step in range(window)]
            pixels = x[:, :, rows][:, :, :, columns].flatten(2).mT
            queries, values = pixels.chunk(2, -1)
            y = torch.softmax(queries @ queries.mT, -1) @ values
            block = y.mT.unflatten(2, (window, window))
            for place, row in enumerate(rows):
                result[:, :, row, columns] = block[:, :, place]
    return result


def elan(state, image):
    height, width = image.shape[2:]
    padded = F.pad(image, (0, -width % 16, 0, -height % 16), mode="reflect")
    first = conv(state, "head.0", (padded - MEAN) * 255)
    x = first
    for block in range(count(state, "body.")):
        local = f"body.{block}.modules_lfe.lfe_0."
        y = conv(state, f"{local}conv0.shift_conv.conv1x1", shifted(x)).relu()
        x = x + conv(state, f"{local}conv1.shift_conv.conv1x1", shifted(y))
        name = f"body.{block}.modules_gmsa.gmsa_0."
        y = conv(state, f"{name}project_inp.0", x)
        norm = {
            key: state[f"{name}project_inp.1.{key}"].view(1, -1, 1, 1)
            for key in ("weight", "bias", "running_mean", "running_var")
        }
        y = (y - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt()
        y = y * norm["weight"] + norm["bias"]
        parts = [
            attention(part, window, window // 2 if block % 2 else 0)
            for part, window in zip(y.chunk(3, 1), (4, 8, 16), strict=True)
        ]
        x = x + conv(state, f"{name}project_out", torch.cat(parts, 1))
    x = conv(state, "tail.0", x + first) / 255 + MEAN
    return x[..., :height, :width]


def rrdb_pixel_shuffle(state, image):
    first = conv(state, "conv_first", image)
    x = first
    for block in range(count(state, "body.")):
        inside = x
        for dense in (1, 2, 3):
            seen = [inside]
            for number in range(1, 5):
                y = conv(state, f"body.{block}.rdb{dense}.conv{number}", torch.cat(seen, 1))
                seen.append(F.leaky_relu(y, 0.2))
            y = conv(state, f"body.{block}.rdb{dense}.conv5", torch.cat(seen, 1))
            inside = inside + 0.2 * y
        x = x + 0.2 * inside
    x = first + conv(state, "conv_body", x)
    for step in range(0, count(state, "upsample."), 2):
        x = F.pixel_shuffle(conv(state, f"upsample.{step}", x), 2)
    x = F.leaky_relu(conv(state, "conv_hr", F.leaky_relu(x, 0.2)), 0.2)
    return conv(state, "conv_last", x)
