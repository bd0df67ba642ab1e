"""What the command must give is said before PyTorch is loaded."""

import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import cli.resolvers  # noqa: F401  registers what the configs use
from cli.early_checks import check_choices, check_config
from cli.help import CONF, options
from cli.value_ranges import check_ranges
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


ALL_RECIPES = [
    *((command, []) for command in ("detect", "upscale", "train", "evaluate", "prepare", "export")),
    *(("evaluate", [f"task={task}"]) for task in options("task", "evaluate")),
    *(("prepare", [f"task={task}"]) for task in options("task", "prepare")),
    *(("train", [f"experiment={name}"]) for name in options("experiment", "train")),
    *(("annotate", [f"annotation@task={kind}"]) for kind in ("masks", "ground_truth", "study")),
]


@pytest.mark.parametrize(("script", "overrides"), ALL_RECIPES)
def test_what_every_recipe_sets_is_in_its_range(script, overrides, tmp_path):
    with initialize_config_dir(str(CONF), version_base=None):
        check_ranges(compose(script, [*overrides, f"output_dir={tmp_path}"]))


@pytest.mark.parametrize(
    ("script", "override", "message"),
    [
        ("upscale", "outscale=nan", "^outscale=nan: give a number above 0 and at most 100$"),
        ("upscale", "outscale=1e9", r"^outscale=1000000000\.0: give a number above 0"),
        ("upscale", "quality=0", "^quality=0: give a whole number from 1 to 100"),
        ("upscale", "tile=large", "^tile=large: give a whole number of at least 0 or auto$"),
        ("detect", "data.batch_size=1e3", r"^data\.batch_size=1000\.0: give a whole number"),
        ("train", "model.pixel.weight=heavy", r"^model\.pixel\.weight=heavy: give a number of"),
        ("train", "model.betas=[a,0.9]", r"^model\.betas=a: give a number from 0 to 1$"),
        ("upscale", "tile=-1", "^tile=-1: give a whole number of at least 0"),
        ("upscale", "data.num_workers=-1", r"^data\.num_workers=-1: give a whole number from 0"),
        (
            "detect",
            "data.batch_size=0",
            r"^data\.batch_size=0: give a whole number from 1 to 65536$",
        ),
        ("detect", "detector.threshold=nan", r"^detector\.threshold=nan: give"),
        ("detect", "detector.min_area=-3", r"^detector\.min_area=-3: give a number of at least 0"),
        ("train", "iterations=0", "^iterations=0: give a whole number of at least 1"),
        ("train", "iterations=2.5", "^iterations=2.5: give a whole number"),
        ("train", "model.learning_rate=-1", r"^model\.learning_rate=-1: give a number above 0"),
        ("train", "model.learning_rate=inf", r"^model\.learning_rate=inf: give a number above"),
        ("train", "model.adversarial.weight=nan", r"^model\.adversarial\.weight=nan: give"),
        ("train", "data.gt_crop=-64", r"^data\.gt_crop=-64: give"),
        ("train", "data.val_share=1.5", r"^data\.val_share=1\.5: give a number from 0 to 1"),
        ("train", "seed=-1", "^seed=-1: give a whole number from 0 to"),
        ("annotate", "port=70000", "^port=70000: give a whole number from 0 to 65535"),
    ],
)
def test_a_number_out_of_its_range_is_one_line(script, override, message, tmp_path):
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(script, [override, f"output_dir={tmp_path}"])
    with pytest.raises(InputError, match=message):
        check_ranges(config)


def test_numbers_in_lists_have_the_range_of_the_lists_name():
    with pytest.raises(InputError, match=r"^a\.depths=0: give a whole number from 1 to 65536$"):
        check_ranges(OmegaConf.create({"a": {"depths": [6, 0], "weights": [True, None, "x"]}}))


@pytest.mark.parametrize(
    ("script", "overrides", "message"),
    [
        ("upscale", ["input=", "weights=x"], "^input: is empty; give input=PATH"),
        ("upscale", ["input=.", "weights="], "^weights: is empty; give weights=PATH"),
        ("detect", ["mse_root=.", "gan_root="], "^gan_root: is empty"),
        (
            *("upscale", ["input=.", "weights=x", "generator=rrdbnet"]),
            "^generator: a new RRDBNet, without weights, is for train.py; leave generator=… out",
        ),
        (
            *("train", ["data.root=.", "generator@model.generator=srvgg", "generator_weights=x"]),
            "^generator_weights=x: a new SRVGGNetCompact takes no weights; give",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(script, overrides, message, tmp_path):
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(script, [*overrides, f"output_dir={tmp_path}/out"])
    with pytest.raises(InputError, match=message):
        check_config(config)


def test_a_word_where_an_option_goes_names_the_choice():
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", ["data.root=.", "model.generator=rrdbnet"])
    with pytest.raises(InputError, match=r"is a choice; give generator@model\.generator=rrdbnet$"):
        check_choices({"generator@model.generator": "auto", "hydra/output": "default"}, config)
