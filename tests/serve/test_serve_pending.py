import asyncio

import pytest

from scalelab.serve.pending import Alarms, SharedCall, Waiters


def test_calls_during_a_round_trip_share_the_next_one():
    batches = []

    async def main():
        gate = asyncio.Event()

        async def call(items):
            batches.append(items)
            await gate.wait()
            return [item * 10 for item in items]

        shared = SharedCall(call)
        first = shared(1)
        while not batches:
            await asyncio.sleep(0)
        others = [shared(item) for item in (2, 3, 4)]
        gate.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(main()) == [10, 20, 30, 40]
    assert batches == [[1], [2, 3, 4]]


@pytest.mark.parametrize("is_immediate", [False, True])
def test_a_round_trip_is_no_larger_than_its_limit(is_immediate):
    batches = []

    async def call(items):
        batches.append(len(items))
        return items

    async def main():
        shared = SharedCall(call, max_items=4, is_immediate=is_immediate)
        return await asyncio.gather(*[shared(item) for item in range(10)])

    assert asyncio.run(main()) == list(range(10))
    assert batches == [4, 4, 2]


@pytest.mark.parametrize("is_immediate", [False, True])
def test_an_error_reaches_every_caller_and_the_next_call_works(is_immediate):
    fails = [True]

    async def call(items):
        if fails.pop() if fails else False:
            raise OSError("away")
        return items

    async def main():
        shared = SharedCall(call, is_immediate=is_immediate)
        first = await asyncio.gather(shared(1), shared(2), return_exceptions=True)
        return first, await shared(3)

    first, then = asyncio.run(main())
    assert [type(one) for one in first] == [OSError, OSError]
    assert then == 3


def test_an_answer_reaches_all_who_wait_for_the_task_and_nobody_else():
    async def main():
        waiters, heard = Waiters(), []
        waiters.call("a", heard.append)
        waiters.call("b", heard.append)
        with waiters.listening("a") as wait:
            waiters.announce("a", b"done")
            found = await wait(10)
        waiters.forget("b", heard.append)
        return found, heard, len(waiters)

    assert asyncio.run(main()) == (b"done", [b"done"], 0)


def test_who_waited_long_enough_gets_nothing_and_is_forgotten():
    async def main():
        waiters = Waiters()
        with waiters.listening("a") as wait:
            assert len(waiters) == 1
            answer = await wait(0)
        return answer, len(waiters)

    assert asyncio.run(main()) == (b"", 0)


def test_alarms_ring_in_their_order_and_not_if_they_were_taken_back():
    async def main():
        alarms, rang, done = Alarms(grain_s=0.001), [], asyncio.Event()
        alarms.set("late", 0.02, done.set)
        alarms.set("first", 0.0, lambda: rang.append("first"))
        alarms.set("second", 0.005, lambda: rang.append("second"))
        alarms.cancel("third", alarms.set("third", 0.005, lambda: rang.append("third")))
        await done.wait()
        alarms.cancel("first", 1)
        return rang, alarms._slots

    assert asyncio.run(main()) == (["first", "second"], {})


def test_an_alarm_does_not_ring_before_its_time():
    async def main():
        loop = asyncio.get_running_loop()
        alarms, rang = Alarms(), loop.create_future()
        asked_s = loop.time()
        alarms.set("a", 0.015, lambda: rang.set_result(loop.time()))
        return await rang - asked_s

    assert asyncio.run(main()) >= 0.015 - 1e-4  # the loop's clock has a resolution
