import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.splits import (
    SplitRule,
    group_of,
    read_key_list,
    refuse_straddling,
    split_by_list,
    split_by_share,
)
from desra.errors import InputError

CROPS = r"^(.*)_s\d+$"


@settings(deadline=None, max_examples=50)
@given(
    st.integers(2, 40), st.integers(1, 4), st.floats(0.01, 0.99), st.integers(0, 5), st.booleans()
)
def test_shares_of_whole_groups(photos, crops, share, seed, grouped):
    keys = [f"p{photo:02d}_s{crop}" for photo in range(photos) for crop in range(crops)]
    pattern = CROPS if grouped else None
    train, val = split_by_share(keys, share, seed, pattern)
    assert sorted(train + val) == keys
    groups = [{group_of(key, pattern) for key in side} for side in (train, val)]
    assert not groups[0] & groups[1]
    assert groups[0]
    assert len(groups[1]) == min(max(round(share * (n := len(groups[0] | groups[1]))), 1), n - 1)
    refuse_straddling(train, val, pattern)


def test_the_seed_decides_and_new_images_leave_the_others_where_they_are():
    keys = [f"{number:03d}" for number in range(100)]
    _, val = split_by_share(keys, 0.2, 0, None)
    assert split_by_share(keys[::-1], 0.2, 0, None)[1] == val[::-1]
    assert split_by_share(keys, 0.2, 1, None)[1] != val
    _, later = split_by_share([*keys, "a", "b", "c", "d", "e"], 0.2, 0, None)
    assert len(set(val) - set(later)) <= 5


def test_few_training_images_are_among_many_and_another_seed_draws_others():
    keys = [f"{number:03d}" for number in range(60)]
    draws = [SplitRule(train_count=count).drawn(keys) for count in (5, 10, 60)]
    assert [len(draw) for draw in draws] == [5, 10, 60]
    assert draws[0] < draws[1] < draws[2]
    assert SplitRule(train_count=5, seed=1).drawn(keys) != draws[0]
    assert SplitRule().drawn(keys) == set(keys)
    with pytest.raises(InputError, match="train_count=61: there are 60 images"):
        SplitRule(train_count=61).drawn(keys)
    with pytest.raises(InputError, match="at least 1"):
        SplitRule(train_count=0)


def test_no_share_is_no_validation():
    assert split_by_share(["a", "b"], 0, 0, None) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("keys", "share", "pattern", "said"),
    [
        (["a", "b"], 1.0, None, "val_share=1.0"),
        (["a", "b"], -0.1, None, "val_share=-0.1"),
        (["a"], 0.5, None, "cannot be split"),
        (["p_s1", "p_s2"], 0.5, CROPS, "one group"),
    ],
)
def test_refuses_impossible_shares(keys, share, pattern, said):
    with pytest.raises(InputError, match=said):
        split_by_share(keys, share, 0, pattern)


def test_reads_lists_with_suffixes_comments_and_windows_slashes(tmp_path):
    path = tmp_path / "val.txt"
    path.write_text("# held out\na/1.png\n\nb.2  # with a dot in its name\n  c\n")
    assert read_key_list(path, ["a/1", "b.2", "c", "d"]) == {"a/1", "b.2", "c"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("x\na\n", "1 of 2 listed images are not there: x"), ("# nothing\n", "lists no image")],
)
def test_refuses_lists_that_name_nothing_or_what_is_not_there(tmp_path, text, said):
    path = tmp_path / "val.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_key_list(path, ["a"])


def test_refuses_a_missing_or_binary_list(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_key_list(tmp_path / "absent.txt", ["a"])
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match=r"binary\.txt"):
        read_key_list(tmp_path / "binary.txt", ["a"])


def test_lists_keep_order_and_must_not_straddle_groups_or_take_everything():
    keys = ["p1_s1", "p1_s2", "p2_s1"]
    assert split_by_list(keys, {"p2_s1"}, CROPS) == (["p1_s1", "p1_s2"], ["p2_s1"])
    with pytest.raises(InputError, match="in training and in validation: p1"):
        split_by_list(keys, {"p1_s2"}, CROPS)
    assert split_by_list(keys, {"p1_s2"}, None) == (["p1_s1", "p2_s1"], ["p1_s2"])
    with pytest.raises(InputError, match="names every image"):
        split_by_list(keys, set(keys), CROPS)


def test_groups_are_the_first_group_or_the_whole_match_or_the_key():
    assert group_of("a/p1_s3", CROPS) == "a/p1"
    assert group_of("p1_s3", r"^p\d") == "p1"
    assert group_of("other", r"^p\d") == group_of("other", None) == "other"
    with pytest.raises(InputError, match="group_pattern"):
        SplitRule(group_pattern="(")
