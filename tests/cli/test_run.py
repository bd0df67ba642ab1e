"""From exceptions to lines and exit codes."""

import pytest
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

from cli import failures, run
from cli.resolvers import better, folder_name
from desra.errors import InputError


def raised(call):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call()
    return caught.value


def test_a_users_mistake_is_found_below_what_hydra_wraps_around_it():
    def wrapped():
        try:
            raise InputError("a.png: is\n  empty")
        except InputError as error:
            raise InstantiationException("Error in call to target") from error

    assert failures.user_message(raised(wrapped)) == "a.png: is empty"


def test_a_missing_value_names_the_override_to_add():
    config = OmegaConf.create({"data": {"root": "???"}})
    error = raised(lambda: config.data.root)
    assert isinstance(error, MissingMandatoryValue)
    assert "data.root=VALUE" in failures.user_message(error)


def test_a_bug_is_not_hidden():
    assert failures.user_message(ZeroDivisionError()) is None


def test_failures_are_listed_once_by_rank_zero_and_set_the_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(failures, "_exit_code", 0)
    failures.report_failures([])
    with pytest.raises(SystemExit, match="0"):
        run.launch(lambda: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    failures.report_failures(["a.png: damaged"])
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("LOCAL_RANK")
    failures.report_failures(["a.png: damaged"], "images not done")
    assert capsys.readouterr().err == "images not done (1):\n  a.png: damaged\n"
    with pytest.raises(SystemExit, match="1"):
        run.launch(lambda: None)


@pytest.mark.parametrize("override", ["hparams_search=optuna", "+hydra/launcher=joblib"])
def test_a_missing_plugin_is_one_line(override, monkeypatch, capsys):
    monkeypatch.setattr(failures, "_exit_code", 0)
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["train.py", "-m", "seed=1", override])
    with pytest.raises(SystemExit, match="2"):
        run.launch(lambda: pytest.fail("it has been run"))
    assert capsys.readouterr().err == (
        f"error: {override}: not installed; pip install 'desra[sweeps]'\n"
    )


@pytest.mark.parametrize(
    ("objective", "direction"),
    [
        ("artifact_share/after", "minimize"),
        ("addition_rate", "minimize"),
        ("residual/iou", "minimize"),
        ("lpips/outside", "minimize"),
        ("loss/generator", "minimize"),
        ("removal_rate", "maximize"),
        ("psnr/outside", "maximize"),
        ("detection/f1", "maximize"),
        ("f1", "maximize"),
    ],
)
def test_what_is_better_follows_from_the_figure(objective, direction):
    assert better(objective) == direction


def test_names_of_folders_are_one_folder_and_not_too_long() -> None:
    assert folder_name("data.root=a/b,n=1") == "data.root=a_b,n=1"
    names = [folder_name("x" * 400 + end) for end in "ab"]
    assert len(set(names)) == 2
    assert all(len(name) < 255 for name in names)
