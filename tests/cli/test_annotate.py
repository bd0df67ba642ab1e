"""What the annotator's server cannot be started with is said in a line."""

import pytest
from omegaconf import OmegaConf

from cli.annotate import _serve
from desra.errors import InputError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 99999}, "^port=99999: give a number from 0"),
        ({"port": "abc"}, "^port=abc: give a number"),
        ({"annotators": 0}, "^annotators=0: give at least 1"),
        ({"host": "203.0.113.1"}, "^host=203.0.113.1 port=0: .*; give another"),
    ],
)
def test_settings_that_cannot_be_served(settings, message):
    usual = {"host": "127.0.0.1", "port": 0, "hosts": None, "annotators": None}
    with pytest.raises(InputError, match=message):
        _serve(None, None, OmegaConf.create({**usual, **settings}))
