"""What counts as done, and what does not."""

import pytest

from desra.files import write_text
from desra.ledger import Ledger


@pytest.fixture
def inputs(tmp_path):
    write_text(tmp_path / "in" / "a.png", "pixels")
    return [tmp_path / "in" / "a.png"]


def finish(ledger, inputs, row=None):
    output = ledger.output_dir / "mask" / "sub" / "a.png"
    write_text(output, "mask")
    fingerprint = ledger.fingerprint("sub/a", inputs)
    ledger.record("sub/a", fingerprint, row or {"image": "sub/a", "share": 0.1}, [output])
    return output


def finished(ledger, inputs):
    return ledger.finished("sub/a", ledger.fingerprint("sub/a", inputs))


def test_finished_by_the_same_inputs_and_settings(tmp_path, inputs):
    ledger = Ledger(tmp_path / "out", "detect", {"threshold": 0.7})
    assert finished(ledger, inputs) is None
    finish(ledger, inputs)
    again = Ledger(tmp_path / "out", "detect", {"threshold": 0.7})
    assert finished(again, inputs) == {"image": "sub/a", "share": 0.1}
    assert again.rows(["missing", "sub/a"]) == [{"image": "sub/a", "share": 0.1}]


def test_not_finished_by_other_settings_or_another_task(tmp_path, inputs):
    finish(Ledger(tmp_path / "out", "detect", {"threshold": 0.7}), inputs)
    assert finished(Ledger(tmp_path / "out", "detect", {"threshold": 0.6}), inputs) is None
    assert finished(Ledger(tmp_path / "out", "upscale", {"threshold": 0.7}), inputs) is None


def test_not_finished_after_the_input_changed(tmp_path, inputs):
    ledger = Ledger(tmp_path / "out", "detect", {})
    finish(ledger, inputs)
    write_text(inputs[0], "other pixels")
    assert finished(ledger, inputs) is None


def test_not_finished_without_its_outputs_or_with_an_error(tmp_path, inputs):
    ledger = Ledger(tmp_path / "out", "detect", {})
    finish(ledger, inputs).unlink()
    assert finished(ledger, inputs) is None
    finish(ledger, inputs, {"image": "sub/a", "error": "sub/a: damaged"})
    assert finished(ledger, inputs) is None


def test_a_damaged_record_is_no_record(tmp_path, inputs):
    ledger = Ledger(tmp_path / "out", "detect", {})
    finish(ledger, inputs)
    for text in ("{", "[]", '{"row": {}}'):
        write_text(tmp_path / "out" / ".desra" / "detect" / "sub" / "a.json", text)
        assert finished(ledger, inputs) is None
