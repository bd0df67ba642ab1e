from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from datamodules.degradations import OneStageDegradation, Resize, Round
from datamodules.degradations.kernels import BlurKernels
from datamodules.hggt import HGGTSets
from desra.errors import InputError
from desra.hggt_labels import Tagging, write_tagging
from desra.hggt_sets import find_sets
from desra.images import write_png

VERSIONS = ("01", "02", "03", "04")
LETTERS = {"P": "Positive", "S": "Similar", "N": "Negative", "-": None}
# Of the versions 01 to 04, by the annotators A, B and C.
SETS = {
    "a-0-0": ("PSNS", "PSNS", "SSNP"),
    "a-0-9": ("SSSS", "SSSS", "SSSS"),
    "b-4-4": ("NSSS", "NSSS", "SSSS"),
    "c-1-1": ("PPSS", "PPSN", "SPPP"),
    "d-2-2": ("PSNP", "SPNP", "NNNP"),
}


def label(root, key, by):
    for annotator, letters in zip("ABC", by, strict=True):
        labels = {v: LETTERS[letter] for v, letter in zip(VERSIONS, letters, strict=True)}
        write_tagging(root / "labels" / annotator / f"{key}.json", Tagging(labels))


@pytest.fixture
def root(tmp_path):
    """A picture's third channel says which set and version it is, the others where a pixel is."""
    rows, columns = np.mgrid[:64, :64]
    for number, (key, by) in enumerate(SETS.items()):
        for place, version in enumerate(("original", *VERSIONS)):
            which = np.full_like(rows, 40 * number + 8 * place)
            picture = np.stack([3 * rows, 3 * columns, which], -1).astype(np.uint8)
            suffix = f"_{version}" if place else ""
            write_png(tmp_path / "images" / version / f"{key}{suffix}.png", picture)
        label(tmp_path, key, by)
    return tmp_path


NOTHING = Round(
    blur=BlurKernels(sigma=(0.01, 0.01), probabilities=(1, 0, 0, 0, 0, 0), sinc_probability=0.0),
    resize=Resize(probabilities=(0, 0, 1), limits=(1.0, 1.0)),
    gaussian_probability=1.0,
    gaussian=(0.0, 0.0),
    jpeg=None,
)


def data_of(root, **options):
    defaults = {
        "val_share": 0,
        "hr_crop": 64,
        "gt_crop": 32,
        "batch_size": 4,
        "pool_size": 16,
        "group_size": 4,
        "epoch_steps": 30,
        "num_workers": 0,
        "degradation": OneStageDegradation(4, NOTHING),
    }
    data = HGGTSets(str(root / "images"), str(root / "labels"), **{**defaults, **options})
    data.setup()
    return data


def take(data, count):
    return list(islice(iter(data.train_dataloader()), count))


def which(image):
    """Set and version (0: the original) that a crop of uint8 shows."""
    level = image[2].float().median().item()
    number, rest = divmod(round(level), 40)
    return list(SETS)[number], round(rest / 8)


def seen(data, count, role="gt"):
    found = Counter()
    for batch in take(data, count):
        found.update(
            (key, which(image)) for key, image in zip(batch["keys"], batch[role], strict=True)
        )
    return found


@pytest.mark.parametrize(
    ("target", "negatives", "keys"),
    [
        ("original", False, set(SETS)),
        ("positive", False, {"a-0-0", "c-1-1", "d-2-2"}),
        ("positive", True, {"a-0-0", "b-4-4", "c-1-1", "d-2-2"}),
        ("original", True, {"a-0-0", "b-4-4", "c-1-1", "d-2-2"}),
    ],
)
def test_which_sets_teach_and_what_is_the_target(root, target, negatives, keys):
    data = data_of(root, target=target, negatives=negatives)
    found = seen(data, 30)
    assert {key for key, _ in found} == keys
    assert all(key == shown for key, (shown, _) in found)
    versions = {key: {v for k, (_, v) in found if k == key} for key in keys}
    if target == "original":
        assert set().union(*versions.values()) == {0}
    else:
        # c-1-1: 01 by two, 02 by three, 03 a tie; b-4-4 has no Positive
        expected = {"a-0-0": {1}, "b-4-4": {0}, "c-1-1": {1, 2}, "d-2-2": {4}}
        assert versions == {key: expected[key] for key in keys}


def test_lr_is_made_of_the_original_at_the_same_place(root):
    data = data_of(root, target="positive", flip=True)
    for batch in take(data, 10):
        key, version = which(batch["gt"][0])
        assert version > 0
        lr, gt = batch["lr"].float(), batch["gt"].float()
        whole = gt.unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2))
        assert (lr[:, :2] - whole[:, :2]).abs().max() <= 8  # three levels a pixel; any sampling
        expected = 40 * list(SETS).index(key)
        assert (lr[0, 2] == expected).all()  # the original's


def test_negatives_and_their_shares(root):
    data = data_of(root, target="positive", negatives=True)
    shares = {}
    for batch in take(data, 30):
        for place, key in enumerate(batch["keys"]):
            share = batch["negative_share"][place].item(), batch["positive_share"][place].item()
            if share[0] == 0:
                assert not batch["negative"][place].any()
                assert share[1] == 0
                continue
            negative, positive = (which(batch[r][place])[1] for r in ("negative", "positive"))
            assert which(batch["original"][place]) == (key, 0)
            votes = (round(3 * part, 5) for part in share)
            shares.setdefault(key, set()).add((negative, positive, *votes))
    assert shares["a-0-0"] == {(3, 1, 3, 2)}
    assert shares["b-4-4"] == {(1, 0, 2, 3)}
    assert shares["d-2-2"] == {(3, 4, 3, 3)}
    assert "c-1-1" not in shares


def test_only_what_is_needed_is_decoded(root):
    data = data_of(root, target="positive", cache_gb=0)
    plan = data.planner().plan(0)
    assert set(plan.paths) == {"original", "gt"}
    needed = {path.name for pair in data.train_pairs for path, _ in data.sized_paths(pair)}
    assert needed == {
        "a-0-0.png", "a-0-0_01.png", "c-1-1.png", "c-1-1_01.png", "c-1-1_02.png", "d-2-2.png",
        "d-2-2_04.png",
    }  # fmt: skip


def same(first, second):
    return all(
        a.keys() == b.keys()
        and all(torch.equal(a[n], b[n]) if torch.is_tensor(a[n]) else a[n] == b[n] for n in a)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_same_samples_with_any_number_of_workers(root, workers):
    options = {"negatives": True, "degradation": OneStageDegradation(4)}
    first = take(data_of(root, **options), 10)
    assert same(first, take(data_of(root, **options, num_workers=workers, cache_gb=0), 10))
    assert not same(first, take(data_of(root, **options, seed=1), 10))


def test_a_resumed_stream_goes_on_where_it_was(root):
    data = data_of(root, negatives=True)
    whole = take(data, 9)
    stream = data_of(root, negatives=True).train_dataloader()
    stream.position = 5 * 4
    assert same(whole[5:], list(islice(iter(stream), 4)))


def test_two_ranks_see_what_one_sees(root):
    one = take(data_of(root, negatives=True, batch_size=4), 8)

    class Ranked(HGGTSets):
        place = 0

        @property
        def rank(self):
            return self.place, 2

    halves = []
    for place in range(2):
        data = data_of(root, negatives=True, batch_size=2)
        data.__class__ = Ranked
        data.place = place
        halves.append(take(data, 8))
    for whole, first, second in zip(one, *halves, strict=True):
        for name, value in whole.items():
            if torch.is_tensor(value):
                assert torch.equal(value, torch.cat([first[name], second[name]])), name
            else:
                assert value == first[name] + second[name]


def test_the_pool_neither_loses_nor_doubles_a_sample(root):
    batches = take(data_of(root, target="original"), 12)
    numbers = [number for batch in batches for number in batch["index"].tolist()]
    assert sorted(numbers) == list(range(48))
    assert numbers != sorted(numbers)


def test_ties_can_be_dropped(root):
    sets, _ = find_sets(root / "images", root / "labels", "drop")
    votes = {one.key: one.votes for one in sets}
    assert votes["c-1-1"]["04"].label is None  # S, N, P
    sets, _ = find_sets(root / "images", root / "labels")
    assert {one.key: one.votes for one in sets}["c-1-1"]["04"].label == "Similar"


def test_what_is_wrong_is_a_line_and_the_rest_is_used(root):
    images = root / "images"
    label(root, "a-0-0", ("PSN-", "PSNS", "SSNP"))
    label(root, "ghost", ("PSNS", "PSNS", "SSNP"))
    rotated = np.zeros((64, 60, 3), np.uint8)
    write_png(images / "original" / "c-1-1.png", rotated)
    write_png(images / "02" / "c-1-1_02.png", np.ascontiguousarray(rotated.transpose(1, 0, 2)))
    (images / "04" / "d-2-2_04.png").unlink()
    for version in ("original", *VERSIONS):
        write_png(images / version / "unlabelled.png", np.zeros((64, 64, 3), np.uint8))
    data = data_of(root, target="positive")
    assert set(data.sets) == {"a-0-0"}
    for part in (
        "a-0-0.json: Picture_5 (04): no label",
        "no picture of ghost, which is labelled",
        "c-1-1_01.png: 64x64, but its original has 60x64",
        "c-1-1_02.png: 64x60, but its original has 60x64; was one of them turned by its EXIF",
        "04: no file of d-2-2",
    ):
        assert sum(part in line for line in data.problems) == 1, (part, data.problems)
    assert not any("unlabelled" in line for line in data.problems)  # nothing is wrong with it


def test_a_set_without_labels_teaches_what_the_original_does(root):
    write_png(root / "images" / "original" / "new.png", np.zeros((64, 64, 3), np.uint8))
    for version in VERSIONS:
        write_png(root / "images" / version / "new.png", np.zeros((64, 64, 3), np.uint8))
    assert "new" in data_of(root, target="original").sets
    assert "new" not in data_of(root, target="positive").sets


def test_settings_that_cannot_be_meant(root, tmp_path):
    for options, message in (
        ({"target": "best"}, "target=best"),
        ({"ties": "first"}, "ties=first"),
    ):
        with pytest.raises(InputError, match=message):
            data_of(root, **options)
    for key in SETS:
        label(root, key, ("SSSS",) * 3)
    with pytest.raises(InputError, match="teaches anything"):
        data_of(root)
    with pytest.raises(InputError, match="holds no folder original"):
        find_sets(tmp_path / "labels")
