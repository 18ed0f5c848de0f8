"""Trial answers of lab 00: right in several styles, wrong in the ways that are often seen."""

from scalelab.grading.trials import Task

IMPORTS = "import math, statistics, time\nimport numpy as np\n"
TIME_CALLS = """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(n):
        before = clock()
        call()
        seconds.append(clock() - before)
    return seconds
"""
INTERVAL = """
def median_interval(values):
    ordered, n = sorted(values), len(values)
    k, below = 0, 1
    while 2 * below <= 0.05 * 2**n:
        k += 1
        below += math.comb(n, k)
    low, high = (ordered[k - 1], ordered[n - k]) if k else (-math.inf, math.inf)
    return statistics.median(values), low, high
"""
STOPWATCH = Task(
    context=IMPORTS,
    right=[
        TIME_CALLS,
        """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    def timed():
        before = clock()
        call()
        return clock() - before
    return [timed() for _ in range(warmup + n)][warmup:]
""",
        """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    seconds = np.empty(n)
    i = -warmup
    while i < n:
        start = clock(); call(); end = clock()
        if i >= 0:
            seconds[i] = end - start
        i += 1
    return seconds
""",
    ],
    wrong={
        "cold-calls-counted": """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    seconds = []
    for _ in range(n):
        before = clock()
        call()
        seconds.append(clock() - before)
    return seconds
""",
        "warm-up-takes-from-n": """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    seconds = []
    for i in range(n):
        before = clock()
        call()
        if i >= warmup:
            seconds.append(clock() - before)
    return seconds
""",
        "own-clock": """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(n):
        before = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - before)
    return seconds
""",
        "running-total": """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    for _ in range(warmup):
        call()
    before, seconds = clock(), []
    for _ in range(n):
        call()
        seconds.append(clock() - before)
    return seconds
""",
        "average-of-all": """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    for _ in range(warmup):
        call()
    before = clock()
    for _ in range(n):
        call()
    return [(clock() - before) / n] * n
""",
        "not-a-list": """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    for _ in range(warmup):
        call()
    before = clock()
    for _ in range(n):
        call()
    return (clock() - before) / n
""",
        "wrong-number-of-calls": """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(n):
        call()
        before = clock()
        call()
        seconds.append(clock() - before)
    return seconds
""",
        "clock-readings": TIME_CALLS.replace("clock() - before", "clock()"),
        "returned-generator": TIME_CALLS.replace("    seconds = []\n", "")
        .replace("seconds.append(clock() - before)", "yield clock() - before")
        .replace("    return seconds\n", ""),
        "wrong-unit": TIME_CALLS.replace("clock() - before", "1000 * (clock() - before)"),
        "wrong-seconds": """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(n):
        before = clock()
        call()
        seconds.append((clock() - before) * 1000)
    return [value / 1024 for value in seconds]
""",
    },
    crashing="""
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    return [clock.elapsed(call) for _ in range(n)]
""",
)

INTERVAL_TASK = Task(
    context=IMPORTS,
    right=[
        INTERVAL,
        """
def median_interval(values):
    x = np.sort(np.asarray(values, dtype=float))
    n = x.size
    halves = np.array([math.comb(n, i) for i in range(n + 1)], dtype=float) / 2.0**n
    allowed = np.flatnonzero(2 * np.cumsum(halves) <= 0.05)
    if allowed.size == 0:
        return float(np.median(x)), -np.inf, np.inf
    return float(np.median(x)), float(x[allowed[-1]]), float(x[-1 - allowed[-1]])
""",
        """
def median_interval(values):
    n = len(values)
    ordered = sorted(values)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    best = None
    for k in range(1, n // 2 + 1):
        if 2 * sum(math.comb(n, i) for i in range(k)) / 2**n <= 0.05:
            best = k
    if best is None:
        return [middle, float("-inf"), float("inf")]
    return [middle, ordered[best - 1], ordered[-best]]
""",
    ],
    wrong={
        "mean-not-median": INTERVAL.replace(
            "statistics.median(values)", "statistics.fmean(values)"
        ),
        "wrong-median": INTERVAL.replace(
            "statistics.median(values)", "values[len(values) // 2]"
        ),
        "sorts-callers-list": INTERVAL.replace(
            "ordered, n = sorted(values), len(values)",
            "values.sort(); ordered, n = values, len(values)",
        ),
        "normal-interval": """
def median_interval(values):
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.median(values), statistics.fmean(values) - half, statistics.fmean(values) + half
""",
        "spread-of-values": """
def median_interval(values):
    low, high = np.percentile(values, [2.5, 97.5])
    return statistics.median(values), low, high
""",
        "quartiles": """
def median_interval(values):
    low, high = np.percentile(values, [25, 75])
    return statistics.median(values), low, high
""",
        "whole-range": """
def median_interval(values):
    return statistics.median(values), min(values), max(values)
""",
        "one-tail-only": INTERVAL.replace("2 * below", "below"),
        "one-rank-off": INTERVAL.replace(
            "(ordered[k - 1], ordered[n - k])", "(ordered[k], ordered[n - k - 1])"
        ),
        "interval-from-five": INTERVAL.replace(
            "if k else (-math.inf, math.inf)", "if k else (ordered[0], ordered[-1])"
        ),
        "wrong-interval": INTERVAL.replace("<= 0.05", "<= 0.001"),
        "not-three-numbers": """
def median_interval(values):
    return statistics.median(values)
""",
    },
    crashing="""
def median_interval(values):
    return values.median(), values.quantile(0.025), values.quantile(0.975)
""",
)

AA_TEST = Task(
    context=IMPORTS,
    right=[
        """
def false_alarm_share(decide, measure_pair, trials=100):
    alarms = 0
    for _ in range(trials):
        seconds_a, seconds_b = measure_pair()
        if decide(seconds_a, seconds_b) in ("A", "B"):
            alarms += 1
    return alarms / trials
""",
        """
def false_alarm_share(decide, measure_pair, trials=100):
    said = [decide(*measure_pair()) for _ in range(trials)]
    return 1 - said.count("INCONCLUSIVE") / len(said)
""",
        """
def false_alarm_share(decide, measure_pair, trials=100):
    return np.mean([decide(*measure_pair()) != "INCONCLUSIVE" for _ in range(trials)])
""",
    ],
    wrong={
        "one-winner-only": """
def false_alarm_share(decide, measure_pair, trials=100):
    return sum(decide(*measure_pair()) == "A" for _ in range(trials)) / trials
""",
        "count-not-share": """
def false_alarm_share(decide, measure_pair, trials=100):
    return sum(decide(*measure_pair()) != "INCONCLUSIVE" for _ in range(trials))
""",
        "counts-the-honest": """
def false_alarm_share(decide, measure_pair, trials=100):
    return sum(decide(*measure_pair()) == "INCONCLUSIVE" for _ in range(trials)) / trials
""",
        "measured-once": """
def false_alarm_share(decide, measure_pair, trials=100):
    a, b = measure_pair()
    return sum(decide(a, b) != "INCONCLUSIVE" for _ in range(trials)) / trials
""",
        "one-list-twice": """
def false_alarm_share(decide, measure_pair, trials=100):
    alarms = 0
    for _ in range(trials):
        a, _b = measure_pair()
        alarms += decide(a, a) != "INCONCLUSIVE"
    return alarms / trials
""",
        "trials-ignored": """
def false_alarm_share(decide, measure_pair, trials=100):
    return sum(decide(*measure_pair()) != "INCONCLUSIVE" for _ in range(100)) / 100
""",
        "other-trials": """
def false_alarm_share(decide, measure_pair, trials=100):
    alarms = 0
    for _ in range(trials):
        a, b = measure_pair()[0], measure_pair()[1]
        alarms += decide(a, b) != "INCONCLUSIVE"
    return alarms / trials
""",
        "percent-not-share": """
def false_alarm_share(decide, measure_pair, trials=100):
    alarms = [decide(*measure_pair()) != "INCONCLUSIVE" for _ in range(trials)]
    return 100 * sum(alarms) / trials
""",
        "wrong-share": """
def false_alarm_share(decide, measure_pair, trials=100):
    return sum(decide(*measure_pair()) != "INCONCLUSIVE" for _ in range(trials)) / (trials + 1)
""",
    },
    crashing="""
def false_alarm_share(decide, measure_pair, trials=100):
    return sum(decide(measure_pair()) for _ in range(trials)) / trials
""",
)

VERDICT = Task(
    context=IMPORTS,
    right=[
        """
def winner(seconds_a, seconds_b):
    ratios = [b / a for a, b in zip(seconds_a, seconds_b)]
    _, low, high = median_interval(ratios)
    if low > 1:
        return "A"
    if high < 1:
        return "B"
    return "INCONCLUSIVE"
""",
        """
def winner(seconds_a, seconds_b):
    a, b = np.asarray(seconds_a), np.asarray(seconds_b)
    _, low, high = median_interval((np.log(a) - np.log(b)).tolist())
    return {(True, False): "A", (False, True): "B"}.get((high < 0, low > 0), "INCONCLUSIVE")
""",
        """
def winner(seconds_a, seconds_b):
    def surely_faster(x, y):
        return median_interval([p / q for p, q in zip(x, y)])[2] < 1
    if surely_faster(seconds_a, seconds_b):
        return "A"
    return "B" if surely_faster(seconds_b, seconds_a) else "INCONCLUSIVE"
""",
    ],
    wrong={
        "upside-down": """
def winner(seconds_a, seconds_b):
    _, low, high = median_interval([b / a for a, b in zip(seconds_a, seconds_b)])
    return "B" if low > 1 else "A" if high < 1 else "INCONCLUSIVE"
""",
        "middle-only": """
def winner(seconds_a, seconds_b):
    middle, _, _ = median_interval([b / a for a, b in zip(seconds_a, seconds_b)])
    return "A" if middle > 1 else "B"
""",
        "unpaired": """
def winner(seconds_a, seconds_b):
    _, low_a, high_a = median_interval(seconds_a)
    _, low_b, high_b = median_interval(seconds_b)
    return "A" if high_a < low_b else "B" if high_b < low_a else "INCONCLUSIVE"
""",
        "never-b": """
def winner(seconds_a, seconds_b):
    _, low, _ = median_interval([b / a for a, b in zip(seconds_a, seconds_b)])
    return "A" if low > 1 else "INCONCLUSIVE"
""",
        "pairs-broken": """
def winner(seconds_a, seconds_b):
    ratios = [b / a for a, b in zip(sorted(seconds_a), sorted(seconds_b))]
    _, low, high = median_interval(ratios)
    return "A" if low > 1 else "B" if high < 1 else "INCONCLUSIVE"
""",
        "one-at-the-end": """
def winner(seconds_a, seconds_b):
    _, low, high = median_interval([b / a for a, b in zip(seconds_a, seconds_b)])
    return "A" if low >= 1 else "B" if high <= 1 else "INCONCLUSIVE"
""",
        "winner-from-three": """
def winner(seconds_a, seconds_b):
    ratios = [b / a for a, b in zip(seconds_a, seconds_b)]
    _, low, high = median_interval(ratios)
    if len(ratios) < 6:
        low, high = min(ratios), max(ratios)
    return "A" if low > 1 else "B" if high < 1 else "INCONCLUSIVE"
""",
        "unknown-verdict": """
def winner(seconds_a, seconds_b):
    _, low, high = median_interval([b / a for a, b in zip(seconds_a, seconds_b)])
    return "A wins" if low > 1 else "B wins" if high < 1 else "INCONCLUSIVE"
""",
    },
    crashing="""
def winner(seconds_a, seconds_b):
    _, low, high = median_interval(seconds_b / seconds_a)
    return "A" if low > 1 else "B"
""",
)

FAIR_RACE = Task(
    context=IMPORTS,
    right=[
        """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    seconds_a, seconds_b = [], []
    for pair in range(pairs):
        if pair % 2 == 0:
            seconds_a += time_calls(call_a, 1, 0, clock)
            seconds_b += time_calls(call_b, 1, 0, clock)
        else:
            seconds_b += time_calls(call_b, 1, 0, clock)
            seconds_a += time_calls(call_a, 1, 0, clock)
    return seconds_a, seconds_b
""",
        """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    seconds = np.zeros((2, pairs))
    for place in range(2 * pairs):
        pair, second = divmod(place, 2)
        side = (pair + second) % 2
        before = clock()
        (call_a, call_b)[side]()
        seconds[side, pair] = clock() - before
    return seconds[0].tolist(), seconds[1].tolist()
""",
        """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    def one(call):
        t = clock()
        call()
        return clock() - t
    both = []
    for i in range(pairs):
        if i % 2:
            both.append((one(call_a), one(call_b)))
        else:
            b = one(call_b)
            both.append((one(call_a), b))
    return [a for a, _ in both], [b for _, b in both]
""",
    ],
    wrong={
        "one-after-the-other": """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    return time_calls(call_a, pairs, 0, clock), time_calls(call_b, pairs, 0, clock)
""",
        "same-first": """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    seconds_a, seconds_b = [], []
    for _ in range(pairs):
        seconds_a += time_calls(call_a, 1, 0, clock)
        seconds_b += time_calls(call_b, 1, 0, clock)
    return seconds_a, seconds_b
""",
        "hidden-warm-up": """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    seconds_a, seconds_b = [], []
    for pair in range(pairs):
        turn = ((call_a, seconds_a), (call_b, seconds_b))
        for call, seconds in turn if pair % 2 == 0 else turn[::-1]:
            seconds += time_calls(call, 1, clock=clock)
    return seconds_a, seconds_b
""",
        "clock-not-passed-on": """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    seconds_a, seconds_b = [], []
    for pair in range(pairs):
        turn = ((call_a, seconds_a), (call_b, seconds_b))
        for call, seconds in turn if pair % 2 == 0 else turn[::-1]:
            seconds += time_calls(call, 1, 0)
    return seconds_a, seconds_b
""",
        "lists-swapped": """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    first, second = [], []
    for pair in range(pairs):
        calls = (call_a, call_b) if pair % 2 == 0 else (call_b, call_a)
        first += time_calls(calls[0], 1, 0, clock)
        second += time_calls(calls[1], 1, 0, clock)
    return first, second
""",
        "pairs-missing": """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    seconds_a, seconds_b = [], []
    for pair in range(pairs // 2):
        turn = ((call_a, seconds_a), (call_b, seconds_b))
        for call, seconds in turn if pair % 2 == 0 else turn[::-1]:
            seconds += time_calls(call, 1, 0, clock)
    return seconds_a, seconds_b
""",
        "not-two-lists": """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    ratios = []
    for pair in range(pairs):
        a = time_calls(call_a, 1, 0, clock)[0]
        b = time_calls(call_b, 1, 0, clock)[0]
        ratios.append(b / a)
    return ratios
""",
        "difference-lost": """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    seconds_a, seconds_b = [], []
    for pair in range(pairs):
        turn = [(call_a, seconds_a), (call_b, seconds_b)]
        before = clock()
        for call, seconds in turn if pair % 2 == 0 else reversed(turn):
            call()
        half = (clock() - before) / 2
        seconds_a.append(half)
        seconds_b.append(half)
    return seconds_a, seconds_b
""",
        "no-draw": """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    seconds_a, seconds_b = [], []
    for pair in range(pairs):
        turn = [(call_a, seconds_a), (call_b, seconds_b)]
        before = clock()
        for call, seconds in turn if pair % 2 == 0 else reversed(turn):
            call()
            seconds.append(clock() - before)
    return seconds_a, seconds_b
""",
    },
    crashing="""
def race(call_a, call_b, pairs, clock=time.perf_counter):
    return time_calls(call_a, call_b, pairs)
""",
)

GUARD = Task(
    context=IMPORTS,
    right=[
        """
def is_fair(race):
    return abs(median_ratio(race) - 1) < 0.005
""",
        """
def is_fair(race):
    machine = HeatingMachine(0.05)
    seconds_a, seconds_b = race(machine.work, machine.work, 8, machine.clock)
    logs = np.log(seconds_b) - np.log(seconds_a)
    return bool(abs(np.mean(logs)) < 1e-6)
""",
        """
def is_fair(race):
    machine = HeatingMachine(0.02)
    return winner(*race(machine.work, machine.work, 20, machine.clock)) == "INCONCLUSIVE"
""",
        """
def is_fair(race):
    for growth in (0.01, 0.03):
        if not 1 - growth / 3 < median_ratio(race, growth, 12) < 1 + growth / 3:
            return False
    return True
""",
    ],
    wrong={
        "misses-blocks": """
def is_fair(race):
    return abs(median_ratio(race, growth=0.0) - 1) < 0.005
""",
        "blames-the-fair": """
def is_fair(race):
    return median_ratio(race, pairs=1) == 1
""",
        "too-few-pairs": """
def is_fair(race):
    machine = HeatingMachine(0.02)
    return winner(*race(machine.work, machine.work, 3, machine.clock)) == "INCONCLUSIVE"
""",
        "one-direction": """
def is_fair(race):
    return median_ratio(race) < 1.01
""",
        "misses-same-first": """
def is_fair(race):
    return abs(median_ratio(race) - 1) < 0.1
""",
        "no-yes-or-no": """
def is_fair(race):
    return median_ratio(race)
""",
        "race-not-run": """
def is_fair(race):
    return race.__name__ != "colleagues_race"
""",
    },
    crashing="""
def is_fair(race):
    return median_ratio(race(20)) < 1.005
""",
)

ANSWERS = {
    "stopwatch": STOPWATCH,
    "interval": INTERVAL_TASK,
    "aa-test": AA_TEST,
    "verdict": VERDICT,
    "fair-race": FAIR_RACE,
    "guard": GUARD,
}
