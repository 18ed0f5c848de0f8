"""The ledger: table and journal together, through restarts, crashes and full disks."""

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from serve_local_broker import done, make_task

from scalelab.core.errors import ConfigError
from scalelab.serve.broker import BrokerAway, BrokerLimits, Put
from scalelab.serve.local import journal as journals
from scalelab.serve.local.journal import SEGMENT_BYTES
from scalelab.serve.local.ledger import Ledger
from scalelab.serve.local.records import pack_answer

LIMITS = BrokerLimits(max_depth=1000, result_ttl_s=80.0, max_attempts=3)


class Clock:
    """Monotonic and wall clock that stand still until they are moved."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def wall(self):
        return 1e9 + self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_ledger(tmp_path, clock):
    opened = []

    def open_(limits=LIMITS, segment_bytes=SEGMENT_BYTES):
        if opened:
            crash(opened.pop())
        clocks = {"clock": clock, "wall": clock.wall}
        opened.append(Ledger(tmp_path / "queue", limits, **clocks, segment_bytes=segment_bytes))
        return opened[-1]

    yield open_
    for ledger in opened:
        crash(ledger)


def crash(ledger):
    """Let go of the folder as the system would: nothing is flushed or closed in order."""
    ledger._lock.close()
    for journal in (ledger._tasks, ledger._answers, ledger._letters):
        for fd in (*journal._full, journal._fd):
            if fd >= 0:
                os.close(fd)


def put(ledger, *tasks, key=""):
    return ledger.put([Put(task, key, "digest" if key else "") for task in tasks])


def finish(ledger, task_id, reason="", **fields):
    return ledger.finish(pack_answer(task_id, done(task_id, **fields), reason))


def test_a_restart_keeps_tasks_in_order_answers_and_keys(open_ledger):
    ledger = open_ledger()
    tasks = [make_task(bytes([n])) for n in range(4)]
    put(ledger, *tasks[:3])
    put(ledger, tasks[3], key="k")
    finish(ledger, tasks[1].task_id, result=1)
    finish(ledger, tasks[3].task_id, result=3)
    ledger = open_ledger()
    assert [entry.packed for entry in ledger.take("w", 9)] == [tasks[0].pack(), tasks[2].pack()]
    assert ledger.look_up([tasks[1].task_id]) == [done(tasks[1].task_id, result=1)]
    (placed,) = put(ledger, make_task(), key="k")
    assert (placed.task_id, placed.digest) == (tasks[3].task_id, "digest")


def test_after_a_restart_what_was_in_work_waits_for_its_worker(open_ledger, clock):
    ledger = open_ledger()
    task = make_task()
    put(ledger, task)
    ledger.take("w1", 1)
    ledger = open_ledger()
    assert ledger.take("w2", 9) == []
    clock.now_s += LIMITS.worker_ttl_s + 0.1
    assert ledger.table.silent(clock()) == ["w1"]
    ledger.table.lose("w1")
    (entry,) = ledger.take("w2", 9)
    assert (entry.task_id, entry.attempts) == (task.task_id, 2)


def test_age_and_deadline_go_on_over_a_restart(open_ledger, clock):
    ledger = open_ledger()
    put(ledger, make_task())
    for _ in range(60):  # long enough to be written anew
        clock.now_s += 1.0
        ledger.tick()
    assert open_ledger().table.health(clock()).oldest_s == pytest.approx(60.0)


def test_a_wall_clock_that_jumps_back_makes_nothing_older_or_younger_than_it_can_be(open_ledger, clock):
    ledger = open_ledger()
    task, answered = make_task(), make_task()
    put(ledger, task, answered)
    finish(ledger, answered.task_id)
    clock.now_s -= 1e6
    ledger = open_ledger()
    (entry,) = ledger.take("w", 9)
    assert entry.queued_s == clock()
    assert ledger.look_up([answered.task_id]) == [done(answered.task_id)]
    clock.now_s += 100.0
    assert ledger.look_up([answered.task_id]) == [None]


@pytest.mark.parametrize("can_write_anew", [True, False])
def test_an_answer_outlives_the_record_of_its_task(open_ledger, clock, fill_disk, can_write_anew):
    ledger = open_ledger(segment_bytes=1)
    answered, waiting = make_task(), make_task()
    put(ledger, answered, waiting)  # one record holds both
    finish(ledger, answered.task_id)
    put(ledger, other := make_task())
    finish(ledger, other.task_id)  # begins a segment: the one before may go
    for _ in range(20):  # far past the answers' time to live
        if not can_write_anew:
            fill_disk(0)
        clock.now_s += 10.0
        ledger.tick()
    ledger = open_ledger()
    assert ledger.look_up([answered.task_id, waiting.task_id]) == [None, b""]  # over, and not run again


def test_one_task_that_waits_does_not_keep_all_answers_on_the_disk(open_ledger, clock):
    ledger = open_ledger(segment_bytes=1000)
    put(ledger, make_task())
    for _ in range(400):
        clock.now_s += 1.0
        task = make_task(bytes(300))
        put(ledger, task)
        finish(ledger, task.task_id, text="x" * 300)
        ledger.tick()
    assert len(list(ledger._tasks._folder.glob("answers-*.log"))) < 120  # of 200: 80 s and an eighth


def test_segments_of_finished_work_are_dropped(open_ledger, clock):
    ledger = open_ledger()
    folder = ledger._tasks._folder
    for _ in range(40):
        tasks = [make_task(bytes(100_000)) for _ in range(10)]
        put(ledger, *tasks)
        for task in tasks:
            finish(ledger, task.task_id)
        clock.now_s += 5.0
        ledger.tick()
    sizes = [path.stat().st_size for path in folder.glob("tasks-*.log")]
    assert sum(sizes) <= 2 * SEGMENT_BYTES < 40 * 10 * 100_000


def test_dead_letters_outlive_restarts_and_come_back_only_when_asked(open_ledger):
    ledger = open_ledger()
    tasks = [make_task(bytes([n])) for n in range(3)]
    put(ledger, *tasks)
    for task in tasks:
        finish(ledger, task.task_id, reason=f"bad {task.payload[0]}")
    ledger = open_ledger()
    found = ledger.letters(2)
    assert [(one.task_id, one.reason, one.payload) for one in found] == [
        (task.task_id, f"bad {task.payload[0]}", task.payload) for task in tasks[1:]
    ]
    assert ledger.drop_letters([tasks[0].task_id, "0" * 32]) == 1
    assert ledger.retry_letters([tasks[1].task_id, tasks[1].task_id, tasks[0].task_id]) == 1
    ledger = open_ledger()
    assert [one.task_id for one in ledger.letters(9)] == [tasks[2].task_id]
    (entry,) = ledger.take("w", 9)
    assert (entry.packed, entry.attempts) == (tasks[1].pack(), 1)
    assert ledger.look_up([tasks[0].task_id]) == [done(tasks[0].task_id)]
    finish(ledger, tasks[1].task_id, result="now")
    assert open_ledger().look_up([tasks[1].task_id]) == [done(tasks[1].task_id, result="now")]


def test_tasks_out_of_attempts_are_buried_with_what_happened(open_ledger):
    ledger = open_ledger(BrokerLimits(max_attempts=2))
    task = make_task()
    put(ledger, task)
    for name in ("w1", "w2"):
        ledger.take(name, 1)
        ledger.table.lose(name)
    ((task_id, body),) = ledger.bury_exhausted()
    assert (task_id, b"2 times" in body) == (task.task_id, True)
    assert ledger.bury_exhausted() == []
    assert [one.reason for one in open_ledger().letters(9)] == ["its worker died or gave it back 2 times"]


@pytest.fixture
def fill_disk(monkeypatch):
    """Let files grow no more, but by what a file that is given up frees."""
    free = {"bytes": float("inf")}
    write, unlink = os.write, Path.unlink

    def limited(fd, data):
        if len(data) > free["bytes"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        free["bytes"] -= len(data)
        return write(fd, data)

    def freeing(path, missing_ok=False):
        if path.exists():
            free["bytes"] += path.stat().st_size
        unlink(path, missing_ok=missing_ok)

    def limited_file(path, data):
        if len(data) > free["bytes"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text("x" * len(data))

    monkeypatch.setattr(journals.os, "write", limited)
    monkeypatch.setattr(Path, "unlink", freeing)
    monkeypatch.setattr(Path, "write_bytes", limited_file)
    return lambda count: free.update(bytes=count)


def test_a_full_disk_accepts_nothing_and_still_answers_what_was_accepted(open_ledger, fill_disk):
    ledger = open_ledger()
    before, refused = make_task(), make_task(bytes(500))
    put(ledger, before)
    fill_disk(10)
    with pytest.raises(BrokerAway, match="No space left") as caught:
        put(ledger, refused)
    assert "free space" in caught.value.hint
    assert ledger.look_up([before.task_id, refused.task_id]) == [b"", None]
    assert len(finish(ledger, before.task_id)) == 1  # from the reserve
    fill_disk(10)
    ledger.tick()
    with pytest.raises(BrokerAway, match="full"):
        put(ledger, make_task(b""))
    fill_disk(10**9)
    ledger.tick()
    assert put(ledger, refused)[0].task_id == refused.task_id
    assert open_ledger().look_up([before.task_id, refused.task_id]) == [done(before.task_id), b""]


def test_answers_that_cannot_be_written_may_come_again(open_ledger, fill_disk):
    ledger = open_ledger()
    task = make_task()
    put(ledger, task)
    ledger._reserve.give_up()
    fill_disk(10)
    with pytest.raises(BrokerAway, match="No space left"):
        finish(ledger, task.task_id)
    assert ledger.look_up([task.task_id]) == [b""]
    fill_disk(10**9)
    assert len(finish(ledger, task.task_id)) == 1


def test_a_folder_that_another_process_holds_is_said(open_ledger, tmp_path):
    open_ledger()
    with pytest.raises(ConfigError, match="another process keeps its queue"):
        Ledger(tmp_path / "queue", LIMITS)


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_at_any_moment_loses_nothing(open_ledger, clock, seed):
    chance = random.Random(seed)
    ledger = open_ledger(segment_bytes=2000)
    accepted, answers, keys = {}, {}, {}
    for _ in range(600):
        clock.now_s += chance.random() * 2
        step = chance.choice(
            ["put", "put", "take", "finish", "finish", "bad", "lose", "tick", "cancel", "crash"]
        )
        waiting = sorted(accepted.keys() - answers.keys())
        some = chance.sample(waiting, min(len(waiting), chance.randint(0, 3)))
        name = chance.choice("ab")
        if step == "put":
            key = f"key {len(accepted)}" if chance.random() < 0.3 else ""
            payload, task_id = chance.randbytes(chance.randint(0, 300)), chance.randbytes(16).hex()
            task = make_task(payload, priority=chance.randrange(3), task_id=task_id)
            accepted[put(ledger, task, key=key)[0].task_id] = clock()
            if key:
                keys[key] = task.task_id
        elif step == "take":
            ledger.take(name, chance.randint(1, 4))
        elif step in ("finish", "bad"):
            packed = b"".join(
                pack_answer(task_id, done(task_id, n=n), "poison" * (step == "bad"))
                for n, task_id in enumerate(some)
            )
            answers |= {task_id: (body, clock()) for task_id, body in ledger.finish(packed)}
        elif step == "lose":
            ledger.table.lose(name)
            answers |= {task_id: (body, clock()) for task_id, body in ledger.bury_exhausted()}
        elif step == "tick":
            ledger.tick()
        elif step == "cancel" and some:
            answers |= {task_id: (body, clock()) for task_id, body in ledger.cancel(some[0])[1]}
        elif step == "crash":
            letters = list(ledger.table.letters)
            ledger = open_ledger(segment_bytes=2000)
            assert list(ledger.table.letters) == letters
        assert accepted.keys() - answers.keys() == ledger.table.open.keys()
    assert len(answers) > 100
    fresh = {
        task_id: body for task_id, (body, at_s) in answers.items() if clock() - at_s < LIMITS.result_ttl_s
    }
    assert len(fresh) > 10
    ledger = open_ledger()
    assert ledger.look_up(list(fresh)) == list(fresh.values())
    for key, task_id in keys.items():
        if task_id in fresh or task_id not in answers:
            assert put(ledger, make_task(), key=key)[0].task_id == task_id


_WRITER = """
import sys
from pathlib import Path
from serve_local_broker import make_task
from scalelab.serve.broker import BrokerLimits, Put
from scalelab.serve.local.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), BrokerLimits())
while True:
    for placed in ledger.put([Put(make_task(bytes(3000))) for _ in range(8)]):
        sys.stdout.write(placed.task_id + "\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_a_process_killed_while_it_writes_keeps_all_it_accepted(tmp_path):
    folder = tmp_path / "queue"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", _WRITER, str(folder)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as writer:
        said = [writer.stdout.readline().strip() for _ in range(2000)]
        writer.kill()
        said += writer.stdout.read().split()
    whole = [task_id for task_id in said if len(task_id) == 32]  # the last line may be half
    ledger = Ledger(folder, BrokerLimits())
    assert set(whole) <= ledger.table.open.keys()
    assert len(ledger.table.open) - len(whole) <= 8
    ledger.close()
