import os
import threading
import time

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


def test_an_error_of_the_calling_thread_waits_for_what_the_others_do():
    caller, done = threading.get_ident(), []

    def act(number):
        if threading.get_ident() == caller:
            raise ZeroDivisionError
        time.sleep(0.05)
        done.append(number)

    with pytest.raises(ZeroDivisionError):
        run_parallel(act, [(number,) for number in range(3)])
    count = len(done)
    time.sleep(0.2)
    assert len(done) == count


def test_threads_last_and_a_forked_process_has_its_own():
    def names():
        together = threading.Barrier(3, timeout=60)
        return run_parallel(lambda: (together.wait(), threading.current_thread().name)[1], [()] * 3)

    before = names()
    assert sorted(names()) == sorted(before)
    child = os.fork()
    if child == 0:
        os._exit(0 if len(set(names())) == 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_callers_do_not_wait_for_each_other():
    free, entered = threading.Event(), threading.Barrier(3, timeout=60)

    def hold(number):
        entered.wait()
        free.wait()

    other = threading.Thread(target=run_parallel, args=(hold, [(n,) for n in range(2)]))
    other.start()
    entered.wait()
    try:
        assert run_parallel(pow, [(2, n) for n in range(9)]) == [2**n for n in range(9)]
    finally:
        free.set()
        other.join()


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
