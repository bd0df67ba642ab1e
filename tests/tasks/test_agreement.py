import csv
import json

import numpy as np
import pytest

from desra.hggt_labels import Tagging, write_tagging
from desra.images import image_size
from desra.metrics.agreement import fleiss_kappa
from tasks.agreement import Agreement


def test_figures_of_three_annotators(tmp_path):
    said = {
        "A": ["Positive", "Similar", "Negative", "Positive"],
        "B": ["Positive", "Similar", "Negative", "Similar"],
        "C": ["Positive", "Negative", None, "Negative"],
    }
    for annotator, labels in said.items():
        tagging = Tagging({f"{i:02d}": label for i, label in enumerate(labels, 1)}, seconds=7)
        write_tagging(tmp_path / "labels" / annotator / "x.json", tagging)
    task = Agreement(tmp_path / "labels", tmp_path / "out")
    problems = task.run()
    assert len(problems) == 1
    assert "no label" in problems[0]
    counts = np.array([[3, 0, 0], [0, 2, 1], [0, 0, 2], [1, 1, 1]])
    assert task.summary["fleiss_kappa"] == pytest.approx(fleiss_kappa(counts))
    assert (task.summary["ties"], task.summary["similar"], task.summary["positive"]) == (1, 2, 1)
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == task.summary
    rows = list(csv.DictReader((tmp_path / "out/annotators.csv").open()))
    assert [row["items"] for row in rows] == ["4", "4", "3"]
    assert rows[0]["median_seconds"] == "7.0"
    assert float(rows[2]["bias"]) < 0 < float(rows[0]["bias"])
    assert image_size(tmp_path / "out/agreement.png")[1] > 600
