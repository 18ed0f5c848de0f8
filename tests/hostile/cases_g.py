# ruff: noqa: E501  (a line is a student's line)
"""Class g: processes, memory, time, disk, output. All are bounded, in case that the limits do not hold."""

from hostile_case import STEAL, Case, all_tasks

FORK = """
import os, time
def _children(count, work):
    for _ in range(count):
        try:
            if os.fork() == 0:
                try: work()
                finally: os._exit(0)
        except OSError: return
def _sleep_apart():
    os.setsid(); time.sleep(40)
def _hog():
    block = b"x" * (400 * 2**20); time.sleep(20)
"""


def rough(name: str, before: str = "", **more) -> Case:
    return Case(name, before=before, is_rough=True, **more)


CASES = [
    rough("g-endless-loop", answers={"softmax": "def softmax(x):\n    while True: pass"}),
    rough("g-every-task-loops", answers=all_tasks("while True: pass")),
    rough("g-long-sleep", "import time\ntime.sleep(600)"),
    rough("g-cell-after-cell-sleeps", "import time\ntime.sleep(600)", after="import time\ntime.sleep(600)",
          answers={"softmax": "import time\ntime.sleep(600)", "bubble_fraction": "import time\ntime.sleep(600)"}),
    rough("g-ignores-signals", answers={"softmax": """
import signal, time
def softmax(x):
    for one in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(one, signal.SIG_IGN)
    until = time.time() + 200
    while time.time() < until:
        try: time.sleep(0.5)
        except BaseException: pass
    return x
"""}),
    rough("g-stuck-in-c", answers={"softmax": "import re\ndef softmax(x):\n    re.match(r'(a+)+$', 'a' * 48 + 'b')",
                                   "bubble_fraction": "def bubble_fraction(p, m):\n    return 10 ** 10 ** 10"}),
    rough("g-stops-itself", answers={"softmax": "import os, signal\ndef softmax(x):\n    os.kill(os.getpid(), signal.SIGSTOP)"}),
    rough("g-memory", """
import numpy as np, time
_hog = [np.ones(256 * 2**20, dtype=np.uint8) for _ in range(12)]
time.sleep(5)
"""),
    rough("g-memory-of-many", FORK + "_children(8, _hog)\ntime.sleep(3)"),
    rough("g-memory-by-files", """
import os
for _folder in ("/dev/shm", "/tmp", os.getcwd()):
    for _number in range(40):
        try: open(os.path.join(_folder, f"junk{_number}"), "wb").write(b"x" * (50 * 2**20))
        except (OSError, MemoryError): pass
"""),
    rough("g-many-processes", FORK + "_children(45, _sleep_apart)"),
    rough("g-processes-that-stay", FORK + "_children(5, lambda: _children(3, _sleep_apart))",
          answers=all_tasks("_children(3, _sleep_apart); return 12")),
    rough("g-fills-the-disk", """
import os, tempfile
for _folder in (os.getcwd(), tempfile.gettempdir()):
    with open(os.path.join(_folder, "junk"), "wb") as _file:
        for _ in range(100): _file.write(b"\\0" * 2**20)
"""),
    rough("g-many-files", "for _n in range(20000): open(f'f{_n}', 'w').close()"),
    rough("g-large-output", "for _ in range(600): print('x' * 100000)"),
    rough("g-many-outputs", """
import sys
for _n in range(300000):
    print(_n)
    if _n % 50 == 0: sys.stdout.flush()
"""),
    rough("g-rich-output", "from IPython.display import HTML, display\nfor _n in range(3000): display(HTML('x' * 10000))"),
    rough("g-kills-its-parent", "import os, signal\nif os.getppid() > 1: os.kill(os.getppid(), signal.SIGKILL)"),
    rough("g-kills-all", "import os, signal\nos.kill(-1, signal.SIGKILL)"),
    rough("g-kills-all-in-tasks", answers=all_tasks(
        "import os, signal; [os.kill(each, signal.SIGKILL) for each in (os.getppid(), 1, -1)]; return 12")),
    rough("g-threads", """
import threading, time
def _spin():
    until = time.time() + 40
    while time.time() < until: sum(range(1000))
for _n in range(8): threading.Thread(target=_spin, daemon=_n > 0).start()
"""),
    rough("g-a-thousand-threads", """
import threading, time
for _ in range(1000):
    threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
"""),
    rough("g-sockets", STEAL + """
import socket
_kept, _told = [], []
for _ in range(500):
    try:
        _one = socket.socket(); _one.bind(("127.0.0.1", 0)); _one.listen(); _kept.append(_one)
    except OSError: break
for _place in (("127.0.0.1", 22), ("10.0.0.1", 53), ("169.254.169.254", 80)):
    try: socket.create_connection(_place, timeout=1); _told.append(_place)
    except OSError: pass
""", answers={"softmax": "softmax = shout(_told)"}),
    rough("g-descriptors", "_kept = []\nfor _ in range(100000): _kept.append(open('/dev/null'))"),
    rough("g-recursion", "import sys\nsys.setrecursionlimit(10**8)\ndef _deep(n): return [_deep(n + 1)]\n_deep(0)"),
    rough("g-recursion-in-tasks", "import sys\nsys.setrecursionlimit(10**8)",
          answers=all_tasks("return (lambda f: f(f))(lambda f: [f(f)])")),
    rough("g-returns-a-gigabyte", answers={
        "softmax": "def softmax(x): return np.zeros(2**27)",
        "fast_pairwise": "def fast_pairwise(X): return np.broadcast_to(np.float64(0), (10**6, 10**6))",
        "ring_allreduce": "def ring_allreduce(parts): return ['x' * 2**28], 6",
        "bubble_fraction": "def bubble_fraction(p, m): return 1 << (2**28)",
    }),
    rough("g-returns-the-deep-and-the-round", answers={
        "softmax": "def softmax(x):\n    out = []\n    for _ in range(10**5): out = [out]\n    return out",
        "ring_allreduce": "def ring_allreduce(parts):\n    out = []\n    out.append(out)\n    return out, {1: out}",
        "bubble_fraction": "def bubble_fraction(p, m): return {tuple([1] * 9): {2: {3: [4] * 10**6}}}",
        "quantize_int8": "def quantize_int8(x):\n    while True: yield 127, 1.0",
        "fast_pairwise": "def fast_pairwise(X): return iter(int, 1)",
    }),
    rough("g-calls-back-for-ever", answers={"accumulate_gradients": """
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    while True: loss_fn(model(xs), ys)
"""}),
    rough("g-raises-limits", """
import resource
for _which in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
    try: resource.setrlimit(_which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError): pass
_hog = np.ones(3 * 2**30, dtype=np.uint8)
"""),
]  # fmt: skip
