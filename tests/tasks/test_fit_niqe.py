"""NIQE's model of clean images, fitted by a real Trainer over files."""

import numpy as np
import pytest
import torch
from lightning import Trainer

from callbacks.result_writer import ResultWriter
from datamodules.evaluation_images import CleanImages
from desra import niqe
from desra.errors import InputError
from desra.images import write_png
from desra.ledger import Ledger
from tasks.fit_niqe import NIQEFit


def fit(output_dir, root, **settings):
    task = NIQEFit(output_dir, **settings)
    data = CleanImages(root, num_workers=0)
    ledger = Ledger(output_dir, task.name, task.settings)
    data.bind(task, ledger)
    writer = ResultWriter(ledger, [match.key for match in data.matches])
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=[writer],
    )  # fmt: skip
    trainer.predict(task, data, return_predictions=False)
    return task, writer.failures


def grain(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(128, rng.uniform(20, 40), (height, width, 3)).clip(0, 255).astype(np.uint8)


def test_model_is_that_of_all_sharp_patches(tmp_path, capsys):
    root, images = tmp_path / "clean", [grain(130, 130 + 16 * seed, seed) for seed in range(3)]
    for index, image in enumerate(images):
        write_png(root / f"deep/{index}.png", image)
    write_png(root / "small.png", grain(20, 40, 0))
    (root / "broken.png").write_bytes(b"")
    model = tmp_path / "model.npz"
    task, failures = fit(tmp_path / "out", root, model=model, patch_size=32)
    assert len(failures) == 2
    assert any("40x20, smaller than NIQE's patches" in line for line in failures)
    features = np.concatenate(
        [niqe.pristine_features(torch.from_numpy(i).permute(2, 0, 1), 32) for i in images]
    )
    found = niqe.read_model(model)
    np.testing.assert_allclose(found.mean, features.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False), atol=1e-10)
    assert task.summary["patches"] == len(features)
    assert f"{len(features)} sharp patches of 3 images" in capsys.readouterr().out


def test_too_few_patches_and_settings_that_cannot_be_used(tmp_path):
    write_png(tmp_path / "clean" / "one.png", grain(100, 100, 0))
    with pytest.raises(InputError, match="sharp patches in all, too few"):
        fit(tmp_path / "out", tmp_path / "clean", model=tmp_path / "m.npz", patch_size=32)
    assert not (tmp_path / "m.npz").exists()
    with pytest.raises(InputError, match="patch_size=33"):
        NIQEFit(tmp_path, patch_size=33)
    with pytest.raises(InputError, match=r"task\.model=m\.pth"):
        NIQEFit(tmp_path, model="m.pth")
