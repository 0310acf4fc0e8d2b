"""The keyed queue, on a clock that the test moves."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from seatrial.entry.cluster.work_queue import WorkQueue

LOOP = asyncio.new_event_loop()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def take(queue: WorkQueue[str]) -> str | None:
    """Return the next key that is ready, None when there is none."""

    async def once() -> str | None:
        task = asyncio.ensure_future(queue.get())
        for _ in range(3):
            await asyncio.sleep(0)
        if task.done():
            return task.result()
        task.cancel()
        return None

    return LOOP.run_until_complete(once())


def test_wanting_a_key_twice_is_wanting_it_once():
    queue: WorkQueue[str] = WorkQueue(time=Clock())
    queue.add("a")
    queue.add("a")

    assert (take(queue), take(queue)) == ("a", None)


def test_a_key_added_while_it_is_worked_on_comes_again_afterwards_and_not_before():
    queue: WorkQueue[str] = WorkQueue(time=Clock())
    queue.add("a")
    assert take(queue) == "a"
    queue.add("a")
    assert take(queue) is None

    queue.done("a")

    assert take(queue) == "a"


def test_failures_pause_twice_as_long_each_time_up_to_a_limit_and_success_forgets_them():
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(time=clock, first_pause_seconds=1, longest_pause_seconds=5)
    pauses = []
    for _ in range(5):
        queue.add("a")
        assert take(queue) == "a"
        pauses.append(queue.fail("a"))
        assert take(queue) is None
        clock.now += pauses[-1]
        assert take(queue) == "a"
        queue._release("a")

    assert pauses == [1, 2, 4, 5, 5]
    queue.add("a")
    take(queue)
    queue.done("a")
    queue.add("a")
    take(queue)
    assert queue.fail("a") == 1
    assert queue.fail("b", retry_after_seconds=30) == 30


def test_of_several_wishes_for_later_the_earliest_counts():
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(time=clock)
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    clock.now = 4.9
    assert take(queue) is None
    clock.now = 5.0

    assert take(queue) == "a"
    queue.done("a")
    clock.now = 100.0
    assert take(queue) is None


def test_an_event_overtakes_a_wish_for_later():
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(time=clock)
    queue.add_after("a", 10)
    queue.add("a")
    assert take(queue) == "a"
    queue.done("a")
    clock.now = 11.0

    assert take(queue) is None


def test_a_forgotten_key_does_not_come_back():
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(time=clock)
    queue.add("a")
    queue.add_after("b", 1)
    queue.forget("a")
    queue.forget("b")
    clock.now = 2.0

    assert take(queue) is None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "later", "take", "done", "fail"])), max_size=60)
)
def test_no_key_is_ever_worked_on_twice_at_a_time_and_none_is_lost(steps):
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(time=clock)
    busy: set[str] = set()
    wanted: set[str] = set()
    for key, step in steps:
        if step == "add":
            queue.add(key)
            wanted.add(key)
        elif step == "later":
            queue.add_after(key, 3)
            wanted.add(key)
        elif step == "take":
            clock.now += 1
            found = take(queue)
            if found is not None:
                assert found not in busy
                busy.add(found)
                wanted.discard(found)
        elif key in busy:
            busy.remove(key)
            if step == "fail":
                queue.fail(key)
                wanted.add(key)
            else:
                queue.done(key)
    for key in busy:
        queue.done(key)
    clock.now += 1000
    rest = set()
    while (found := take(queue)) is not None:
        rest.add(found)
        queue.done(found)
    assert rest == wanted


def test_a_worker_that_is_ended_in_the_moment_in_which_something_comes_ends():
    async def main(rounds: int) -> bool:
        queue: WorkQueue[str] = WorkQueue()

        async def work() -> None:
            while True:
                queue.done(await queue.get())

        worker = asyncio.ensure_future(work())
        queue.add_after("b", 3600)
        for _ in range(5):
            await asyncio.sleep(0)
        queue.add("a")
        for _ in range(rounds):
            await asyncio.sleep(0)
        worker.cancel()
        await asyncio.wait({worker}, timeout=2)
        ended = worker.cancelled()
        worker.cancel()
        return ended

    assert [asyncio.run(main(rounds)) for rounds in range(4)] == [True] * 4
