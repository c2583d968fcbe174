"""Work ahead of its turn: in order, bounded, ended cleanly."""

import threading
import time

import pytest
import torch

from resharp.parallel import ahead, in_stages, threads


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order(workers: int) -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number

    with threads(workers) as pool:
        assert list(ahead(slow_at_first, range(20), pool, 4)) == list(range(20))


@pytest.mark.parametrize("workers", [0, 2])
def test_stages_are_done_in_order_and_few_things_are_held(workers: int) -> None:
    held, most, alone = set[int](), [0], threading.Lock()

    def read(number: int) -> int:
        with alone:
            held.add(number)
            most[0] = max(most[0], len(held))
        return number

    def finish(number: int) -> int:
        time.sleep(0.001)
        with alone:
            held.remove(number)
        return 2 * number

    with threads(workers) as pool:
        done = list(in_stages(range(50), read, lambda n: n, finish, pool=pool, n_ahead=1, n_behind=2))
    assert done == [2 * number for number in range(50)]
    assert most[0] <= (5 if workers else 1)


def test_reading_and_finishing_go_on_beside_the_work() -> None:
    at_work, read_meanwhile = threading.Event(), threading.Event()

    def read(number: int) -> int:
        if number == 1:
            assert at_work.wait(5)
            read_meanwhile.set()
        return number

    def work(number: int) -> int:
        at_work.set()
        assert read_meanwhile.wait(5)
        return number

    with threads(1) as pool:
        assert list(in_stages(range(3), read, work, lambda n: n, pool=pool)) == [0, 1, 2]


def test_an_error_comes_up_at_its_place_and_what_has_begun_is_finished() -> None:
    finished: list[int] = []

    def finish(number: int) -> int:
        time.sleep(0.01)
        finished.append(number)
        return number

    def work(number: int) -> int:
        if number == 2:
            raise KeyError(number)
        return number

    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads(2) as pool:
        list(in_stages(range(9), lambda n: n, work, finish, pool=pool))
    assert sorted(finished) == [0, 1]
    assert torch.get_num_threads() == before
