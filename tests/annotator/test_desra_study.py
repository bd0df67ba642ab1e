"""The published study from a run's folder: its paths, what it held out, what is missing."""

import shutil

import pytest

from annotator.desra_study import desra_study
from desra.errors import InputError
from desra.images import image_size
from models.generators import SRVGGNetCompact, write_generator

CONFIG = "data: {root: set, method: null, folder_names: null, val_root: null}"


@pytest.fixture
def run(artifact_set, tmp_path):
    """A run that was started beside the set, with a relative path."""
    run = tmp_path / "run"
    for folder in (".hydra", "weights"):
        (run / folder).mkdir(parents=True)
    generator = SRVGGNetCompact(features=4, depth=1)
    write_generator(run / "weights/net.safetensors", generator)
    (run / ".hydra/config.yaml").write_text(CONFIG)
    (run / ".hydra/hydra.yaml").write_text(f"hydra: {{runtime: {{cwd: '{tmp_path}'}}}}")
    (run / "per_image.csv").write_text("image,removed\nsub/two,1\n")
    return run


def test_relative_paths_are_those_of_the_run_and_only_what_it_held_out_is_upscaled(
    run, tmp_path, monkeypatch
):
    monkeypatch.chdir(run)
    task = desra_study(run, tmp_path / "study", controls=1)
    asked = {(item["question"], item["image"], item["control"]) for item in task.items.values()}
    assert asked == {(n, "sub/two", control) for n in (0, 1) for control in (False, True)}
    made = list((tmp_path / "study/upscaled").rglob("*.png"))
    assert [path.name for path in made] == ["two.png"]
    assert image_size(made[0]) == (96, 128)


def test_a_set_that_has_gone_is_named(run, artifact_set, tmp_path):
    shutil.rmtree(artifact_set / "GAN-SR")
    with pytest.raises(InputError, match=r"set/GAN-SR: gone, and .*run was trained on it"):
        desra_study(run, tmp_path / "study")
