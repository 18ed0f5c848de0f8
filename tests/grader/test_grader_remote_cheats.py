"""Cells that students could write to cheat: no points, the judge goes on, the next student is judged well."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from grader_forks import Forks
from grader_small_checks import apply, fair, refuse, total

from scalelab.grader.remote import RemoteAnswers
from scalelab.grading import Outcome, run_check
from scalelab.grading.answers import Stopped
from scalelab.grading.limits import OverLimit


@pytest.fixture(scope="module")
def forks():
    made = Forks("import math, time, os, sys, gc, json, builtins", "import numpy as np")
    yield made
    made.close()


pytestmark = pytest.mark.slow
EQUAL = """
class Equal(KIND):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __sub__ = __rsub__ = __abs__ = lambda self, *_: Equal()
    def __bool__(self): return True
    def __float__(self): return 0.0
    def __array__(self, *_, **__): return np.zeros(())
    __hash__ = KIND.__hash__
"""
CHANNEL = (
    "[f for f in os.listdir('/proc/self/fd') if os.path.realpath('/proc/self/fd/' + f).count('socket:')]"
)
CHEATS = {
    "a float that equals everything": (total, EQUAL.replace("KIND", "float") + "total = lambda v: Equal(1)"),
    "an object that equals all": (total, EQUAL.replace("KIND", "object") + "total = lambda v: Equal()"),
    "a text that equals everything": (total, EQUAL.replace("KIND", "str") + "total = lambda v: Equal('1')"),
    "an array that equals everything": (
        total,
        "class A(np.ndarray):\n    def __array_ufunc__(self, *a, **k): return True\n"
        "    def astype(self, *a, **k): return self\n"
        "total = lambda v: np.zeros(()).view(A)",
    ),
    "an empty array": (total, "total = lambda v: np.zeros(0)"),
    "NaN": (total, "total = lambda v: float('nan')"),
    "an input changed into zeros": (total, "def total(v):\n    v[:] = [0] * 20\n    return 0"),
    "an input emptied": (total, "def total(v):\n    v.clear()\n    return 0"),
    "a verdict that is both": (fair, EQUAL.replace("KIND", "int") + "fair = lambda x: Equal(1)"),
    "a verdict that is an object": (fair, "class T:\n    __bool__ = lambda s: True\nfair = lambda x: T()"),
    "an exception that claims to be a ValueError": (
        refuse,
        "class E(Exception):\n    __class__ = ValueError\ndef refuse(x): raise E",
    ),
    "a base exception that claims to be one": (
        refuse,
        "class E(BaseException):\n    __class__ = property(lambda s: ValueError)\ndef refuse(x): raise E",
    ),
    "a ValueError by name": (refuse, "class ValueError(Exception): pass\ndef refuse(x): raise ValueError"),
    "an exception whose text raises": (
        refuse,
        "class E(Exception):\n    def __str__(self): raise SystemExit\n    __repr__ = __str__\n"
        "def refuse(x): raise E",
    ),
    "an exception of the engine": (
        total,
        "from scalelab.grading.expectations import Inconclusive\ndef total(v): raise Inconclusive('x')",
    ),
    "an error of the lab's files": (
        total,
        "from scalelab.core.errors import LabFileError\ndef total(v): raise LabFileError('x')",
    ),
    "comparisons patched": (
        total,
        "np.isclose = np.allclose = math.isclose = lambda *a, **k: True\n"
        "builtins.abs = lambda x: 0\nbuiltins.sum = lambda v: 0\ndef total(v): return 0",
    ),
    "the check engine patched": (
        total,
        "import scalelab.grading.running as r, scalelab.grading.expectations as e\n"
        "r.run_check = e.expect = e.expect_close = e.expect_raises = lambda *a, **k: None\n"
        "e.ExpectationFailed.__init__ = lambda *a, **k: sys.exit(0)\ndef total(v): return 0",
    ),
    "the wire patched to answer at random": (
        total,
        "import msgpack\nmsgpack.packb = lambda *a, **k: os.urandom(64)\ndef total(v): return 0",
    ),
    "json and msgpack taken away": (
        total, "import msgpack\ndel msgpack.unpackb, msgpack.packb, json.loads\ndef total(v): return 0",
    ),
    "the writer patched to send an object of its own": (
        total,
        "from scalelab.grader import encoding\n"
        "encoding._WRITE[float] = lambda w, v, d: ['array', '|O', [1], 8]\ndef total(v): return 0.5",
    ),
    "all sockets written to": (
        total, f"def total(v):\n    for f in {CHANNEL}: os.write(int(f), b'\\0' * 4096)\n    return 0",
    ),
    "all sockets read from": (
        total,
        "import threading\ndef total(v):\n"
        f"    for f in map(int, {CHANNEL}):\n"
        "        threading.Thread(target=os.read, args=(f, 99), daemon=True).start()\n"
        "    return 0",
    ),
    "all sockets closed": (total, f"def total(v):\n    for f in {CHANNEL}: os.close(int(f))\n    return 0"),
    "an answer too many": (
        total,
        "def total(v):\n"
        "    for o in gc.get_objects():\n"
        "        if type(o).__name__ == 'Channel':\n"
        "            o.send({'value': '0' * 32, 'of': sum(v)})\n"
        "    return 0",
    ),
    "the answer given by the cell itself, and then another": (
        total,
        "def total(v):\n"
        "    frame = sys._getframe()\n"
        "    while 'message' not in frame.f_locals: frame = frame.f_back\n"
        "    number = frame.f_locals['message']['call']\n"
        "    for o in gc.get_objects():\n"
        "        if type(o).__name__ == 'Channel':\n"
        "            o.send({'value': number, 'of': -1})\n"
        "    return sum(v)",
    ),
    "the name of the function that was lent": (
        apply,
        "def apply(ask, n):\n"
        "    found = [ask(i) for i in range(n)]\n"
        "    return found if ask.__name__ == 'next_one' else 0",
    ),
    "its name in the error of a wrong call": (
        apply,
        "def apply(ask, n):\n"
        "    try: ask()\n"
        "    except TypeError as error: told = str(error)\n"
        "    found = [ask(i) for i in range(n)]\n"
        "    return found if 'next_one' in told else 0",
    ),
    "secrets looked for in memory": (
        total,
        "def total(v):\n"
        "    kinds = {type(o).__name__ for o in gc.get_objects()}\n"
        "    return sum(v) if kinds & {'Check', 'RemoteAnswers', 'CheckResult'} else -1",
    ),
    "the check's own function called without end": (apply, "def apply(f, n):\n    while True: f(0)"),
    "the check's own function called in itself": (
        apply, "def apply(f, n): return [f(lambda: f(0)) for _ in range(n)]",
    ),
    "garbage for the check's own function": (
        apply,
        "class I(int):\n    def __index__(self): return 0\n"
        "def apply(f, n): return [f(I(7)), f(None), f(np.zeros(9))]",
    ),
    "the function of the check called after its end": (
        apply, "import threading\nkept = []\ndef apply(f, n):\n    kept.append(f)\n    return [1, 2, 3]",
    ),
    "an endless generator": (total, "def total(v):\n    while True: yield 1"),
    "a generator that kills its process": (apply, "def apply(f, n):\n    yield f(0)\n    os._exit(0)"),
    "a list of ten million lists": (total, "def total(v): return [[]] * 10_000_000"),
    "an array of 8 GB": (total, "def total(v): return np.broadcast_to(1.0, 10**9)"),
    "a text of 100 MB": (total, "def total(v): return 'x' * 10**8"),
    "a list within lists": (total, "def total(v):\n    for _ in range(500): v = [v]\n    return v"),
    "a number of a million digits": (total, "def total(v): return 1 << 3_000_000"),
    "an early end": (total, "def total(v): os._exit(0)"),
    "an exit": (total, "def total(v): sys.exit(0)"),
    "Ctrl-C": (total, "def total(v): raise KeyboardInterrupt"),
    "a signal": (total, "import signal\ndef total(v): os.kill(os.getpid(), signal.SIGKILL)"),
    "a stop": (
        replace(total, limit_s=1), "import signal\ndef total(v): os.kill(os.getpid(), signal.SIGSTOP)",
    ),
    "the alarm taken away": (
        replace(total, limit_s=1),
        "import signal\ndef total(v):\n    signal.setitimer(signal.ITIMER_REAL, 0)\n    time.sleep(60)",
    ),
    "the clocks patched": (
        replace(total, limit_s=1),
        "time.monotonic = time.perf_counter = time.time = lambda: 0.0\ndef total(v):\n    while True: pass",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHEATS)
def test_a_cheat_gets_no_points_and_hurts_no_one(forks, what):
    chosen, source = CHEATS[what]
    started = time.monotonic()
    with forks.channel() as channel:
        answers = RemoteAnswers(channel)
        with contextlib.suppress(Stopped):  # a cell may end the channel at once
            answers.run([source], cell_s=5, deadline=started + 20)
        for seed in (4, 5):  # the second time on what is left of the channel
            result = run_check(chosen, answers, seed=seed)
            assert result.points == 0, str(result)
            assert result.outcome in {Outcome.FAILED, Outcome.CRASHED}, str(result)
    assert time.monotonic() - started < 30
    with forks.learner("def total(v): return sum(v)") as honest:
        assert run_check(total, honest, seed=4).is_passed


def test_a_channel_that_ended_says_so_to_every_question(forks):
    with forks.learner("def total(v): os._exit(0)") as answers:
        assert run_check(total, answers, seed=1).code == "process-ended"
        assert not answers.is_usable
        for question in (lambda: "x" in answers, lambda: answers["x"], answers.explained):
            with pytest.raises(Stopped):
                question()


def test_cells_that_end_the_process_or_never_end_are_told(forks):
    with forks.channel() as channel, pytest.raises(Stopped):
        RemoteAnswers(channel).run(["os._exit(3)"], cell_s=5, deadline=time.monotonic() + 9)
    endless = "while True:\n    try:\n        time.sleep(9)\n    except BaseException: pass"
    with forks.channel() as channel, pytest.raises(OverLimit):
        RemoteAnswers(channel).run([endless], cell_s=0.2, deadline=time.monotonic() + 1)


def test_the_limit_holds_in_a_thread_of_the_judge_too(forks):
    """Where there is no alarm (a thread, Windows), the channel's own deadline ends the wait."""
    stopped = "import signal\ndef total(v): os.kill(os.getpid(), signal.SIGSTOP)"
    with forks.learner(stopped) as answers, ThreadPoolExecutor(1) as pool:
        result = pool.submit(run_check, replace(total, limit_s=0.5), answers, seed=1).result(30)
    assert (result.outcome, result.code) == (Outcome.CRASHED, "over-limit"), str(result)
    assert not answers.is_usable
