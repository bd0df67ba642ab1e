"""What counts as done, and what does not."""

import json

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
    record = tmp_path / "out" / ".desra" / "detect" / "sub" / "a.json"
    whole = {"fingerprint": "a", "row": {}, "outputs": {}}
    assert ledger.unreadable(["sub/a", "other"]) == []
    for content in (
        b"{",
        b"[]",
        b'{"row": {}}',
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({**whole, "row": 3}).encode(),
        json.dumps({**whole, "outputs": ["mask/sub/a.png"]}).encode(),
        json.dumps({**whole, "outputs": {"../in/a.png": "digest"}}).encode(),
        json.dumps({**whole, "outputs": {str(inputs[0]): "digest"}}).encode(),
    ):
        record.write_bytes(content)
        ledger.clear("sub/a")
        assert inputs[0].exists()
        assert finished(ledger, inputs) is None
        assert ledger.rows(["sub/a"]) == []
        assert ledger.unreadable(["sub/a", "other"]) == [record]
    record.unlink()
    record.mkdir()
    assert finished(ledger, inputs) is None


def test_an_output_changed_by_hand_is_not_the_runs_own_and_is_kept(tmp_path, inputs):
    ledger = Ledger(tmp_path / "out", "detect", {})
    output = finish(ledger, inputs)
    assert ledger.set_aside("sub/a") == []
    for text in ("corrected", "corrected again"):
        finish(ledger, inputs)
        write_text(output, text)
        assert finished(ledger, inputs) is None
        (kept,) = ledger.set_aside("sub/a")
        assert kept.read_text() == text
        assert kept.is_relative_to(tmp_path / "out" / ".desra" / "changed" / "mask" / "sub")
        assert not output.exists()


def test_names_as_long_as_a_file_system_allows(tmp_path, inputs):
    ledger = Ledger(tmp_path / "out", "detect", {})
    keys = ["ü" * 125 + end for end in ("a", "b")]
    for key in keys:
        ledger.record(key, key, {"image": key})
    assert [ledger.finished(key, key) for key in keys] == [{"image": key} for key in keys]
