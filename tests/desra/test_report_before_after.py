"""The page before and after finetuning: beside every rate what it was counted over."""

import json

from desra.detectors import ArtifactDetector
from desra.metrics.finetuning import score_finetuning
from desra.report.before_after import write_page


def test_each_rate_has_its_counts_and_what_is_outlined_is_not_what_counts(tmp_path):
    # Five regions found and outlined, one of them labelled.
    row = {
        "image": "a",
        "artifact_share_before": 0.5,
        "artifact_share_after": 0.25,
        "regions_before": 5,
        "regions_after": 2,
        "removable": 1,
        "removed": 1,
        "added": 0,
        "pixels_before": 2000,
        "pixels_removed": 1500,
        "truth_psnr_inside_finetuned": 25.0,
        "truth_psnr_outside_finetuned": 24.0,
    }
    page = write_page(tmp_path, [row], score_finetuning([row]), ArtifactDetector())
    text = page.read_text("utf-8")
    data = json.loads(text.partition('id="page-data"')[2].partition(">")[2].partition("</")[0])
    assert dict(data["summary"])["removal rate"] == "100.00 % (1 of 1 regions)"
    assert dict(data["summary"])["marked pixels removed"] == "75.00 % (1,500 of 2,000 pixels)"
    assert dict(data["summary"])["addition rate"] == "0.00 % (0 of 1 images)"
    assert dict(data["summary"])["… inside, finetuned"] == "25.00 dB"
    assert dict(data["summary"])["… outside, finetuned"] == "24.00 dB"
    titles = [column["title"] for column in data["columns"]]
    shown = dict(zip(titles, data["rows"][0][2], strict=True))
    assert [shown[f"regions {name}"] for name in ("before", "counted", "removed")] == [5, 1, 1]
