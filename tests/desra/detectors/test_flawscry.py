"""What SR Flaw Scry's detector needs is said before anything else."""

from importlib.util import find_spec

import pytest

from desra.detectors import FlawScryDetector
from desra.errors import InputError


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match="needs the released model"):
        FlawScryDetector(None)
    with pytest.raises(InputError, match=r"config\.json: no such file; fetch the whole model"):
        FlawScryDetector(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    if find_spec("srflawscry") is None:
        with pytest.raises(InputError, match="srflawscry is not installed; pip install git"):
            FlawScryDetector(tmp_path)
