"""What the command must give is said before PyTorch is loaded."""

import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

import cli.resolvers  # noqa: F401  registers what the configs use
from cli.early_checks import check_config
from cli.help import CONF
from desra.errors import InputError
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("script", "overrides", "message"),
    [
        ("detect", [], "no MSE-SR, GAN-SR: give mse_root=DIR"),
        ("detect", ["mse_root=.", "gan_root=/no"], "^/no: no such file or folder; give an image"),
        ("detect", ["segmenter=labels"], r"^segmenter\.root: no value given"),
        ("detect", ["mse_weights=no/w.pth"], "^no/w.pth: no such file; give a file of weights"),
        ("upscale", [], "^input, weights: no value given; add input=VALUE weights=VALUE to"),
        ("upscale", ["input=/no", "weights=w"], "^/no: no such file or folder"),
        ("train", ["data.root=/no"], r"^/no: no such file or folder; give data\.root=DIR"),
        ("train", ["data=hggt", "data.root=."], r"^data\.labels: no value given; add data\.labels"),
        ("train", ["data=paired_images"], r"^data\.hr_root, data\.lr_root: no value given"),
        ("evaluate", ["task=finetuned"], r"^data\.root: no value given"),
        ("evaluate", ["task=gate"], "^old, new: no value given"),
        ("prepare", ["task=degrade"], "^input: no value given"),
        ("export", [], "^weights: no value given"),
        ("annotate", [], "^root: no value given"),
    ],
)
def test_what_is_missing_is_one_line(script, overrides, message, tmp_path):
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(script, [*overrides, f"output_dir={tmp_path}"])
    with pytest.raises(InputError, match=message):
        check_config(config)


def test_names_of_weights_and_what_is_there_pass(tmp_path):
    (tmp_path / "lr").mkdir()
    given = ["mse_weights=RealESRNet_x4plus.pth", "gan_weights=ldl", f"lr_root={tmp_path}/lr"]
    with initialize_config_dir(str(CONF), version_base=None):
        check_config(compose("detect", [*given, f"output_dir={tmp_path}/out"]))


@pytest.mark.parametrize(
    ("script", "overrides", "output"),
    [
        ("prepare", ["task=degrade", "input=photos"], "photos/lr"),
        ("prepare", ["task=regroup", "input=photos"], "photos"),
        ("train", ["data=hr_images", "data.root=photos"], "photos/run"),
        ("train", ["data.root=set"], "set/GAN-SR/run"),
        ("evaluate", ["task=quality", "restored=photos", "hr=clean"], "photos/scores"),
        ("annotate", ["root=set"], "set/LR"),
    ],
)
def test_output_in_what_is_read_is_refused(script, overrides, output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "set/LR", "set/GAN-SR"):
        (tmp_path / folder).mkdir(parents=True)
    with initialize_config_dir(str(CONF), version_base=None):
        inside, beside, of_set = (
            compose(script, [*overrides, f"output_dir={place}"])
            for place in (output, "out", "set/run")
        )
    with pytest.raises(InputError, match=f"^output_dir={output} is in .*choose another folder"):
        check_config(inside)
    check_config(beside)
    check_config(of_set)


def test_neither_checks_nor_help_load_what_takes_seconds(tmp_path):
    program = (
        "import sys, runpy; script, *sys.argv[1:] = sys.argv[1:]; sys.argv[0] = script\n"
        "try: runpy.run_path(script, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print('code', end.code, {'torch', 'lightning', 'cv2'} & set(sys.modules))"
    )
    for script, overrides in (("evaluate.py", ("task=finetuned",)), ("detect.py", ("--help",))):
        command = [sys.executable, "-c", program, script, *overrides, f"output_dir={tmp_path}"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        code = 0 if "--help" in overrides else 2
        assert run.stdout.splitlines()[-1] == f"code {code} set()", run.stderr
