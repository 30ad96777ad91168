"""Who writes next, where only one can."""

import threading

from polls.db_connections import Turns


def test_turns_go_to_whoever_has_waited_longest() -> None:
    turns, order = Turns(), []
    begun = [threading.Event() for _ in range(3)]

    def wait(number: int) -> None:
        begun[number].set()
        with turns.mine():
            order.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(3)]
    with turns.mine():
        for number, thread in enumerate(threads):
            thread.start()
            begun[number].wait()
            while len(turns._waiting) <= number:
                pass
    for _ in range(3):  # the one that was in has no better right than those who wait
        with turns.mine():
            pass
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2]
    assert not turns._taken and not turns._waiting


def test_one_that_takes_turn_after_turn_lets_others_in_between() -> None:
    turns, stop, mine = Turns(), threading.Event(), []

    def again_and_again() -> None:
        while not stop.is_set():
            with turns.mine():
                mine.append(None)

    thread = threading.Thread(target=again_and_again)
    thread.start()
    try:
        for _ in range(20):
            with turns.mine():
                held = len(mine)
                assert held == len(mine)
    finally:
        stop.set()
        thread.join()


def test_nobody_waits_for_ever() -> None:
    turns, went = Turns(patience=0.05), []

    def impatient() -> None:
        with turns.mine():
            went.append(True)

    thread = threading.Thread(target=impatient)
    with turns.mine():
        thread.start()
        thread.join()
        assert went == [True]
        assert turns._taken, "who went without a turn had none to pass on"
    assert not turns._taken


def test_a_failure_passes_the_turn_on() -> None:
    turns = Turns()
    try:
        with turns.mine():
            raise ValueError
    except ValueError:
        pass
    assert not turns._taken
