"""The fair lock that orders SQLite's writers."""

import threading

from polls.db_connections import FairLock


def test_waiters_get_the_lock_in_order_of_arrival() -> None:
    lock, order = FairLock(), []
    begun = [threading.Event() for _ in range(3)]

    def wait(number: int) -> None:
        begun[number].set()
        with lock.hold():
            order.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(3)]
    with lock.hold():
        for number, thread in enumerate(threads):
            thread.start()
            begun[number].wait()
            while len(lock._waiting) <= number:
                pass
    for _ in range(3):  # the thread that had the lock has no priority
        with lock.hold():
            pass
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2]
    assert not lock._taken and not lock._waiting


def test_a_thread_that_takes_the_lock_repeatedly_lets_others_in() -> None:
    lock, stop, mine = FairLock(), threading.Event(), []

    def again_and_again() -> None:
        while not stop.is_set():
            with lock.hold():
                mine.append(None)

    thread = threading.Thread(target=again_and_again)
    thread.start()
    try:
        for _ in range(20):
            with lock.hold():
                held = len(mine)
                assert held == len(mine)
    finally:
        stop.set()
        thread.join()


def test_a_waiter_gives_up_after_the_timeout() -> None:
    lock, went = FairLock(timeout=0.05), []

    def impatient() -> None:
        with lock.hold():
            went.append(True)

    thread = threading.Thread(target=impatient)
    with lock.hold():
        thread.start()
        thread.join()
        assert went == [True]
        assert lock._taken, "a thread that gave up must not release the lock"
    assert not lock._taken


def test_an_exception_releases_the_lock() -> None:
    lock = FairLock()
    try:
        with lock.hold():
            raise ValueError
    except ValueError:
        pass
    assert not lock._taken
