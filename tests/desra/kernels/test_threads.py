import threading

import pytest
import torch

from desra.kernels.threads import run_parallel, scratch, thread_shares


@pytest.fixture(autouse=True)
def three_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def test_parallel_calls_keep_their_order():
    assert run_parallel(pow, [(2, n) for n in range(20)]) == [2**n for n in range(20)]
    assert run_parallel(pow, []) == []


def test_an_error_in_a_thread_is_raised_by_the_call():
    with pytest.raises(ZeroDivisionError):
        run_parallel(divmod, [(1, 1), (1, 0)])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 20])
def test_shares_are_all_of_the_work_once_and_about_equal(count):
    shares = thread_shares(count)
    assert [piece for share in shares for piece in range(*share)] == list(range(count))
    sizes = [stop - start for start, stop in shares]
    assert len(sizes) == min(count, 3)
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_scratch_is_kept_for_the_thread_that_asked():
    room = scratch("test", 2, 5)
    room[:] = 7
    assert scratch("test", 2, 2).max() == 7  # the same memory, smaller
    assert scratch("test", 3, 5).shape == (3, 5)
    found = []
    other = threading.Thread(target=lambda: found.append(scratch("test", 3, 5)))
    other.start()
    other.join()
    assert not found[0].any()
