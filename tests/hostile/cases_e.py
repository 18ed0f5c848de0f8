# ruff: noqa: E501  (a line is a student's line)
"""Class e: time and memory of answers. The measured task is ``fast_pairwise``: four times as fast as two loops."""

from hostile_case import Case

LOOPS = "np.array([[((a - b) ** 2).sum() for b in X] for a in X])"


def fast(code: str) -> dict[str, str]:
    return {"fast_pairwise": code}


CASES = [
    Case("e-slower-clock", before="""
import time
_real, _off = time.perf_counter, [0.0]
time.perf_counter = time.monotonic = time.time = time.process_time = lambda: _real() - _off[0]
time.perf_counter_ns = time.monotonic_ns = time.time_ns = lambda: int(1e9 * time.perf_counter())
time.sleep = lambda seconds: None
""", answers=fast(f"""
def fast_pairwise(X):
    began = _real(); out = {LOOPS}; _off[0] += (_real() - began) * 0.999
    return out
""")),
    Case("e-slower-baseline", answers=fast(f"""
def slow_pairwise(X):
    time.sleep(0.6); return {LOOPS}
def fast_pairwise(X): return {LOOPS}
""")),
    Case("e-patched-numpy-slows-the-baseline", before="""
_sum = np.ndarray.sum
import sys, threading
sys.setswitchinterval(1e-6)
np.random.default_rng = lambda *a: None
""", answers=fast(f"def fast_pairwise(X): return {LOOPS}")),
    Case("e-remembers-inputs", before="_memo = {}", answers=fast(f"""
def fast_pairwise(X):
    key = X.tobytes()
    if key not in _memo:
        _memo[key] = {LOOPS}
    return _memo[key]
""")),
    Case("e-remembers-shapes", before="_memo = {}", answers=fast(f"""
def fast_pairwise(X):
    if X.shape not in _memo:
        _memo[X.shape] = {LOOPS}
    return _memo[X.shape]
""")),
    Case("e-hardcodes", answers={
        "softmax": "def softmax(x): return np.full(x.shape, 0.5)",
        "bubble_fraction": "def bubble_fraction(p, m): return 3 / 7",
        "quantize_int8": "def quantize_int8(x): return torch.tensor([127, -127], dtype=torch.int8), 1.0",
        "ring_allreduce": "def ring_allreduce(p): return [np.full(4, 2.0)] * 2, 2",
        "accumulate_gradients": "def accumulate_gradients(*a): return [0, 0]",
        "fast_pairwise": "def fast_pairwise(X): return np.zeros((3, 3))",
    }),
    Case("e-fast-but-wrong", answers=fast("def fast_pairwise(X): return np.zeros((len(X), len(X)))")),
    Case("e-right-once-then-wrong", before="_calls = [0]", answers=fast(f"""
def fast_pairwise(X):
    _calls[0] += 1
    return {LOOPS} if _calls[0] == 1 else np.zeros((len(X), len(X)))
""")),
    Case("e-lazy-result", answers=fast(f"""
class Later:
    def __init__(self, X): self.X = X
    def __array__(self, *a, **k): X = self.X; return {LOOPS}
def fast_pairwise(X): return Later(X)
""")),
    Case("e-works-behind-the-call", before="""
import threading
def _burn():
    while True: sum(range(1000))
""", answers=fast(f"""
def fast_pairwise(X):
    if not threading.active_count() > 6:
        for _ in range(6): threading.Thread(target=_burn, daemon=True).start()
    return {LOOPS}
""")),
    Case("e-burns-while-the-reference-runs", before="""
import multiprocessing.shared_memory, os, mmap
_busy = mmap.mmap(-1, 8)
def _burners():
    for _ in range(14):
        if os.fork() == 0:
            while True:
                if _busy[0] == 1:
                    for _ in range(2000): pass
                else:
                    import time; time.sleep(0.0005)
""", answers=fast(f"""
_started = []
def fast_pairwise(X):
    if not _started:
        _started.append(1); _burners()
    _busy[0] = 0
    out = {LOOPS}
    _busy[0] = 1
    return out
"""), is_rough=True),
    Case("e-answers-before-the-question", before="""
import threading
def _ahead(): pass
""", answers=fast("""
def fast_pairwise(X):
    import gc, socket
    for each in gc.get_objects():
        if isinstance(each, socket.socket):
            try: each.send(b"\\x00\\x00\\x00\\x10" + b"\\x81\\xa5value\\xc3" * 2)
            except OSError: pass
    return np.zeros((len(X), len(X)))
""")),
    Case("e-raised-priority", before="""
import os
for _call in (lambda: os.nice(-20), lambda: os.sched_setaffinity(0, {0}), lambda: os.setpriority(0, 0, -20)):
    try: _call()
    except OSError: pass
""", answers=fast(f"def fast_pairwise(X): return {LOOPS}")),
    Case("e-stops-the-others", answers=fast(f"""
import os, signal
def fast_pairwise(X):
    for pid in range(2, 400):
        if pid != os.getpid():
            try: os.kill(pid, signal.SIGSTOP)
            except OSError: pass
    return {LOOPS}
""")),
]  # fmt: skip
