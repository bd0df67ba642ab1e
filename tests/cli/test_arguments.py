"""Any path on any command line, as Hydra gives it to the task."""

import os

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from cli.arguments import (
    is_path_setting,
    mistyped,
    quote_paths,
    setting_names,
    unknown_flag,
    unusable_path,
)
from tests.conftest import ROOT

PATHS = [
    "photos(1)",
    "a=b",
    "a#b",
    "it's",
    'say "x"',
    "RealESRGAN (1).pth",
    "2023",
    "1e3",
    "true",
    "2024_01_02",
    "a,b",
    "[x]",
    "{x}",
    "a:b",
    "a~b",
    "día",
    "日本",
    "back\\slash",
    "ends\\",
    "end\\'",
    "a b  c",
    "@x",
    "%s",
    "!x",
    "*",
    "~no-such-user",
    "'quoted'",
    '"',
    "a\nb",
    " a ",
    "[x",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("there", [True, False])
def test_a_path_arrives_as_the_shell_has_passed_it(tmp_path, monkeypatch, path, there):
    monkeypatch.chdir(tmp_path)
    if there:
        (tmp_path / path).mkdir()
    elif path in ("[x]", "'quoted'"):
        return  # Hydra's own words for a list of one and for a quoted text
    quoted = quote_paths([f"input={path}", "weights=x.pth", f"output_dir={path}"])
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose("upscale", overrides=quoted)
    assert config.input == config.data.roles.lr == path
    assert config.output_dir == path
    assert isinstance(config.input, str)


def test_home_lists_sweeps_and_what_is_no_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert quote_paths(["input=~/a"]) == [f"input='{tmp_path}/a'"]
    assert quote_paths(["weights=[a (1).pth,b.pth]"]) == ["weights=['a (1).pth','b.pth']"]
    untouched = ["input=null", "input='x'", "model=ldl", "seed=1", "-m", "data.root=glob(*)"]
    assert quote_paths(untouched) == untouched
    (tmp_path / "a,b").mkdir()
    assert quote_paths(["-m", "data.root=a,b"]) == ["-m", "data.root='a,b'"]
    assert quote_paths(["-m", "data.root=a,c(1)"]) == ["-m", "data.root='a','c(1)'"]
    assert quote_paths(["-m", "data.root=x,a,b,c"]) == ["-m", "data.root='x','a,b','c'"]
    assert quote_paths(["weights=[a,b,c]"]) == ["weights=['a,b','c']"]
    assert quote_paths(["output_dir=[x]"]) == ["output_dir='[x]'"]
    parsed = OverridesParser.create().parse_override("data.root='a','c(1)'")
    assert parsed.is_sweep_override()


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("evaluate", "restored"),
        ("evaluate", "hr"),
        ("evaluate", "labels"),
        ("evaluate", "old"),
        ("evaluate", "new"),
        ("evaluate", "prominence_model"),
        ("evaluate", "kinds"),
        ("evaluate", "roots.desra"),
        ("evaluate", "weights.rlfn"),
        ("evaluate", "segmenter.config"),
        ("train", "data.labels"),
        ("annotate", "run"),
        ("annotate", "task.images"),
        ("annotate", "task.lr"),
        ("annotate", "task.others"),
        ("export", "before"),
    ],
)
def test_settings_of_other_names_hold_paths_too(tmp_path, monkeypatch, script, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a (1), 2=3").mkdir()
    (quoted,) = quote_paths([f"+{name}=a (1), 2=3"])
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose(script, overrides=[quoted.replace("+", "++")])
    assert OmegaConf.select(config, name) == "a (1), 2=3"


def test_numbers_and_lists_of_such_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    untouched = ["images=3", "task.others=[a,b]", "kinds=[grid,stripes]", "+intervals=5"]
    assert quote_paths(untouched) == untouched


def test_what_no_configuration_can_hold_is_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "${x}").mkdir()
    assert "rename it" in unusable_path(["input=${x}"])
    assert unusable_path(["output_dir=out_${seed}"]) is None
    assert "not UTF-8" in unusable_path(["input=" + os.fsdecode(b"caf\xe9")])


def test_a_word_in_the_place_of_a_number_is_named():
    conf = ROOT / "conf"
    assert mistyped(["quality=high"], conf) == "quality=high: give a number, as quality=95"
    assert mistyped(["input=a", "+detector.threshold=abc"], conf).startswith("+detector.threshold=")
    assert mistyped(["outscale=abc"], conf) == "outscale=abc: give a number, as outscale=null"
    fine = [
        "quality=1e1",
        "outscale=null",
        "gt_root=abc",
        "format=png",
        "tile=auto",
        "detector.min_area=0.01",
        "page=no",
        "x",
    ]
    assert mistyped(fine, conf) is None


def test_every_setting_of_the_configs_that_holds_a_path_is_known():
    names = setting_names(ROOT / "conf")
    assert {"input", "data.root", "generator_weights", "ckpt_path", "output_dir"} <= {*names}
    found = {name for name in names if is_path_setting(name)}
    suspicious = ("root", "weights", "path", "dir", "folder", "file", "checkpoint", "list")
    holds_one = {
        name
        for name in names
        if any(word in name.rpartition(".")[2].split("_") for word in suspicious)
        and "." not in name.rpartition(".")[0].replace("data.roles", "")
    }
    harmless = {
        "data.folder_names",
        "generator.drop_path",
        "task.weights",
        "callbacks.weight_export",
    }
    assert holds_one - found - harmless == set()


def test_nothing_but_paths_is_quoted():
    numbers = set()
    for path in (ROOT / "conf").rglob("*.yaml"):
        config = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        for name, value in (config or {}).items():
            if is_path_setting(str(name)) and isinstance(value, (bool, int, float)):
                numbers.add(f"{path.name}: {name}")
    assert not numbers


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["input=x", "--foo"], "unrecognized arguments: --foo; settings are given as NAME=VALUE"),
        (["--weights", "x.pth"], "unrecognized arguments: --weights"),
        (["--cfg", "x"], "argument --cfg/-c: invalid choice: 'x'"),
        (["-m", "seed=1,2", "--cfg", "job", "--config-dir=x"], None),
        (["--help"], None),
        (["--version"], None),
        ([], None),
    ],
)
def test_a_flag_that_hydra_has_not_is_one_line(arguments, problem, capsys):
    found = unknown_flag(arguments)
    assert found is None if problem is None else found.startswith(problem)
    assert capsys.readouterr() == ("", "")
