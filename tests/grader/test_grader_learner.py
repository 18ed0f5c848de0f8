"""The learner process runs honest notebooks of every style, and answers as the notebook itself would."""

from __future__ import annotations

import time

import pytest
from grader_forks import Forks
from grader_small_checks import HINTS, apply, refuse, total

from scalelab.core.errors import LabFileError
from scalelab.grader.remote import RemoteAnswers
from scalelab.grading import Outcome, check, expect, expect_close, run_check

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def forks():
    made = Forks("import numpy as np", "from scalelab import Lab\nlab = Lab('77_small')")
    yield made
    made.close()


RIGHT = "def total(values): return sum(values)"
HONEST = {
    "prints": ("print('x' * 10**6)\ndef total(values):\n    print(values)\n    return sum(values)",),
    "warns": ("import warnings\ndef total(v):\n    warnings.warn('y')\n    return sum(v)",),
    "makes warnings errors": ("import warnings\nwarnings.simplefilter('error')", RIGHT),
    "logs": (
        "import logging\nlogging.basicConfig(level=0, force=True)\nlogging.info('x')",
        "def total(v):\n    logging.getLogger().debug('x')\n    return sum(v)",
    ),
    "writes to stderr": ("import sys\nsys.stderr.write('x')\nsys.stderr.flush()", RIGHT),
    "puts stdout somewhere else": ("import sys, io\nsys.stdout = sys.stderr = io.StringIO()", RIGHT),
    "shows progress": ("from tqdm.auto import tqdm\ndef total(v): return sum(tqdm(v))",),
    "shows values": ("from IPython.display import display, HTML\ndisplay(HTML('<b>x</b>'), 5)\n7", RIGHT),
    "fails in an earlier cell": ("1 / 0", "import nothing_of_that_name", "def f(:", RIGHT),
    "exits in an earlier cell": ("import sys; sys.exit(1)", "exit()", "raise KeyboardInterrupt", RIGHT),
    "asks a user": ("name = input('who? ')", RIGHT),
    "awaits": ("import asyncio\nawait asyncio.sleep(0)\nasync def f(): return 5\nx = await f()", RIGHT),
    "runs a loop of its own": (
        "import asyncio\nasync def g(v): return sum(v)\ndef total(v): return asyncio.run(g(v))",
    ),
    "uses magics": ("%time x = 1\n!echo hi\n%alias_magic t timeit", "%%time\n" + RIGHT, "%nothing_like_it"),
    "uses magics of cells": (
        "%%bash\necho hi", "%%capture out\nprint(1)", "%load_ext autoreload\n%autoreload 2", "%%html\n<b>",
        "%config InlineBackend.figure_format = 'retina'", "%%timeit -n 1 -r 1\n1",
        "%matplotlib inline\n" + RIGHT,
    ),
    "installs what it needs": ("!pip install -q scalelab torch", "%pip install numpy\n" + RIGHT),
    "shows a value whose text breaks": ("class A:\n    def __repr__(self): 1 / 0\nA()", RIGHT + "\nA()"),
    "writes a module": ("%%writefile mine.py\ndef add(v): return sum(v)", "from mine import add as total"),
    "shadows names": ("list = dict = print = len = str = type = 3", RIGHT),
    "shadows modules": ("json = msgpack = os = sys = np = None", RIGHT),
    "patches print": ("import builtins\nbuiltins.print = lambda *a, **k: None", RIGHT),
    "returns a numpy number": ("def total(values): return np.sum(values)",),
    "returns an array": ("def total(values): return np.array(sum(values))",),
    "returns a tensor": ("import torch\ndef total(values): return torch.tensor(values).sum()",),
    "returns a fraction": ("from fractions import Fraction\ndef total(v): return sum(map(Fraction, v))",),
    "returns a float of its own": ("class F(float): unit = 's'\ndef total(v): return F(sum(v))",),
    "is a lambda": ("total = lambda values: sum(values)",),
    "is a method": ("class A:\n    def total(self, v): return sum(v)\ntotal = A().total",),
    "is an object": ("class A:\n    def __call__(self, v): return sum(v)\ntotal = A()",),
    "is a class": ("class total(int):\n    def __new__(cls, v): return int.__new__(cls, sum(v))",),
    "is partial": ("from functools import partial\ntotal = partial(sum, start=0)",),
    "is builtin": ("total = sum",),
    "is cached": ("from functools import lru_cache\nf = lru_cache(sum)\ntotal = lambda v: f(tuple(v))",),
    "calls itself": ("def total(v): return v[0] + total(v[1:]) if v else 0",),
    "works in threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def total(v):\n    with ThreadPoolExecutor(4) as pool: return sum(pool.map(int, v))",
    ),
    "changes its input": ("def total(v):\n    v.sort()\n    return sum(v)",),
    "asks the lab": (
        "card = lab.check('total')\nif card.is_passed: print(card.points)\nlab.hint('total')\n"
        "lab.predict('x', guess=1, low=0, high=2); lab.progress()\n" + RIGHT,
    ),
    "defines it again": ("def total(v): return 0", RIGHT),
    "changes the folder": ("import os\nos.makedirs('deep', exist_ok=True)\n%cd deep", RIGHT),
    "changes the seed": ("import random\nrandom.seed(0); np.random.seed(0)", RIGHT),
}  # fmt: skip


@pytest.mark.parametrize("what", HONEST)
def test_honest_work_gets_full_points_though_it(forks, what, tmp_path):
    with forks.learner(f"import os; os.chdir({str(tmp_path)!r})", *HONEST[what]) as answers:
        result = run_check(total, answers, seed=8)
    assert result.is_passed, str(result)


def test_a_process_that_a_cell_forks_does_not_answer_too(forks):
    with forks.learner(
        "import os", "os.fork()", "def total(v):\n    os.fork()\n    return sum(v)"
    ) as answers:
        for _ in range(3):
            assert run_check(total, answers).is_passed


STUBS = {
    "": "there is no `total` yet",
    "totel = 3": "did you mean `totel`?",
    "total = ...": "`total` is still `...`",
    "def total(v): raise NotImplementedError": "`total` is still the stub",
    "def total(v):\n    ...\n    raise NotImplementedError('your code here')": "`total` is still the stub",
}


@pytest.mark.parametrize("source", STUBS)
def test_a_stub_is_not_attempted(forks, source):
    with forks.learner(source) as answers:
        result = run_check(total, answers, seed=8)
    assert result.outcome is Outcome.NOT_ATTEMPTED, str(result)
    assert STUBS[source] in result.message


CRASHES = {
    "def total(v):\n    return v[99]": (
        "crashed",
        "IndexError: list index out of range, in line 2 of `total`",
    ),
    "def total(v):\n    return np.eye(2) @ v": ("crashed", "in line 2 of `total`: `return np.eye(2) @ v`"),
    "class Mine(KeyError): pass\ndef total(v): raise Mine('x')": ("crashed", "Mine: 'x'"),
    "def total(): pass": ("wrong-arguments", "`total()` cannot be called with 1 value"),
    "def total(v): return total(v)": ("endless-recursion", "calls itself without end"),
    "def total(v): raise SystemExit": ("called-exit", "your code called exit"),
    "import os\ndef total(v): os._exit(0)": ("process-ended", "your code ended its own process"),
}


@pytest.mark.parametrize("source", CRASHES)
def test_a_crash_is_told_with_the_learners_line(forks, source):
    with forks.learner(source) as answers:
        result = run_check(total, answers, seed=8)
    assert (result.outcome, result.code) == (Outcome.CRASHED, CRASHES[source][0]), str(result)
    assert CRASHES[source][1] in result.message


def test_a_loop_without_end_is_told_with_its_line_and_the_next_check_goes_on(forks):
    from dataclasses import replace

    with forks.learner("def total(v):\n    while True: pass", "def refuse(x): raise ValueError") as answers:
        result = run_check(replace(total, limit_s=4), answers, seed=8)
        assert result.message.startswith("your code was stopped after 4.00 s, in line 2 of `total`")
        assert run_check(refuse, answers).is_passed


def test_the_learners_error_types_are_known_to_the_check(forks):
    with forks.learner("class Mine(ValueError): pass\ndef refuse(x): raise Mine('no')") as answers:
        assert run_check(refuse, answers).is_passed
    with forks.learner("def refuse(x): raise KeyError('no')") as answers:
        assert "raised KeyError: 'no', wanted a ValueError" in run_check(refuse, answers).message


@pytest.mark.parametrize(
    "source",
    [
        "def apply(f, n): return [f(i) for i in range(n)]",
        "def apply(f, n): return list(map(f, range(n)))",
        "from threading import Thread\ndef apply(f, n):\n    out = []\n    for i in range(n):\n"
        "        t = Thread(target=lambda: out.append(f(i))); t.start(); t.join()\n    return out",
        "def apply(f, n):\n    def inner(i): return f(i)\n    return [inner(i) for i in range(n)]",
    ],
)
def test_a_function_of_the_check_can_be_called(forks, source):
    with forks.learner(source) as answers:
        assert run_check(apply, answers).is_passed


def test_an_error_in_a_function_of_the_check_is_the_checks_own_again(forks):
    @check("strict", points=1, hints=HINTS)
    def strict(answers):
        """Never ask for a negative place."""

        def at(place):
            expect(place >= 0, f"place {place} was asked for", code="negative-place")

        answers["ask"](at)

    with forks.learner("def ask(at): at(-1)") as answers:
        result = run_check(strict, answers)
    assert (result.outcome, result.code) == (Outcome.FAILED, "negative-place")


def test_a_function_that_was_returned_keeps_the_clock_that_it_was_given(forks):
    @check("limiter", points=1, hints=HINTS)
    def limiter(answers):
        """Allow one call per second of the clock."""
        now = [0.0]
        allow = answers["make_limiter"](lambda: now[0])
        said = [allow(), allow()]
        now[0] = 1.5
        expect([*said, allow()] == [True, False, True], "wrong", code="wrong-limit")

    source = (
        "def make_limiter(clock):\n    last = [-9]\n    def allow():\n"
        "        if clock() - last[0] < 1: return False\n"
        "        last[0] = clock()\n        return True\n    return allow"
    )
    with forks.learner(source) as answers:
        assert run_check(limiter, answers).is_passed


POLLER = """
import threading
seen = []
def start(clock):
    def poll():
        while True:
            seen.append(clock())
    threading.Thread(target=poll, daemon=True).start()
def newest(): return seen[-1] if seen else None
"""


def test_a_thread_of_the_learners_may_ask_on_between_the_questions_of_a_check(forks):
    @check("poll", points=1, hints=HINTS)
    def poll(answers):
        """Read the clock in a thread."""
        now = [0.0]
        answers["start"](lambda: now[0])
        for now[0] in range(1, 20):
            while answers["newest"]() != now[0]:
                pass

    with forks.learner(POLLER, RIGHT) as answers:
        result = run_check(poll, answers)
        assert result.is_passed, str(result)
        for _ in range(5):  # and it hurts no later check
            assert run_check(total, answers).is_passed
        result = run_check(poll, answers)
        assert result.is_passed, str(result)


def test_an_exit_within_a_call_within_a_call_is_one(forks):
    @check("nested", points=1, hints=HINTS)
    def nested(answers):
        """Call a function that calls a function."""
        answers["outer"](lambda: answers["inner"]())

    with forks.learner("def outer(f): f()\ndef inner(): raise SystemExit", RIGHT) as answers:
        assert run_check(nested, answers).code == "called-exit"
        assert not answers.is_usable  # the outer call still waits there


def test_a_generator_is_read_as_far_as_the_check_reads_it(forks):
    @check("count", points=1, hints=HINTS)
    def count(answers):
        """Count without end."""
        numbers = answers["count"]()
        expect_close([next(numbers) for _ in range(3)], [0, 1, 2], what="the first three", code="wrong")

    with forks.learner("import itertools\ncount = itertools.count") as answers:
        assert run_check(count, answers).is_passed


def test_texts_are_kept_and_measurements_passed_over(forks):
    cells = (
        "lab.explain('why', ' because ')\nlab.explain('later', '...')",
        "m = lab.measure('t', max)\nx = 1",
    )
    with forks.channel() as channel:
        answers = RemoteAnswers(channel)
        assert answers.run([*cells, "y = m.value"], cell_s=5, deadline=time.monotonic() + 9) == [
            "cell 3: NameError: name 'm' is not defined"
        ]
        assert answers.explained() == {"why": "because"}
        assert "x" not in answers
        assert answers.get("x", 5) == 5


def test_a_row_keeps_so_much_of_all_texts_and_says_what_was_cut(forks):
    long = "for n in range(40): lab.explain(f'q{n}', f'{n}' + 'x' * 30_000)"
    with forks.channel() as channel:
        answers = RemoteAnswers(channel)
        assert answers.run([long], cell_s=5, deadline=time.monotonic() + 9) == []
        found = answers.explained()
    assert len(found) == 40
    assert found["q0"].endswith("x ... (cut: 14001 more characters)")
    assert found["q39"] == " ... (cut: 30002 more characters)"
    assert sum(map(len, found.values())) < 70_000


def test_a_file_of_the_working_folder_comes_as_bytes(forks, tmp_path):
    cells = (f"import os; os.chdir({str(tmp_path)!r})", "open('m.bin', 'wb').write(b'ab' * 9)")
    with forks.learner(*cells) as answers:
        assert answers.artefact("m.bin") == b"ab" * 9
        for path, size in (("m.bin", 3), ("none", 99)):
            with pytest.raises(Exception, match=f"`{path}`"):
                answers.artefact(path, max_bytes=size)


INSIDE = (
    "def try_total(answers, *, values):\n    return {'it': answers['total'](set(values)), 'n': len(values)}"
)


def test_a_function_beside_the_answer_runs_there(forks):
    with forks.learner("def total(v): return sum(v)", inside=INSIDE) as answers:
        assert answers.inside("try_total", values=[1, 2, 3]) == {"it": 6, "n": 3}
        with pytest.raises(LabFileError, match="has no function 'try_totl'"):
            answers.inside("try_totl")


def test_an_input_that_is_no_plain_data_is_the_labs_fault(forks):
    @check("model", points=1, hints=HINTS)
    def model(answers):
        """Use a model."""
        answers["total"](object())

    with forks.learner(RIGHT) as answers:
        with pytest.raises(
            LabFileError, match="an input cannot go to the learner's process: a object"
        ) as caught:
            run_check(model, answers)
        assert "inside.py" in caught.value.hint
        assert run_check(total, answers).is_passed
