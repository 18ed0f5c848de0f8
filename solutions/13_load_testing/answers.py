"""Trial answers of lab 13: right in several styles, wrong in the ways that are often seen."""

from scalelab.grading.trials import Task

# fmt: off


def edited(text: str):
    """Return a function that replaces pieces of a right answer, each of which must be there."""

    def edit(*pairs: str) -> str:
        made = text
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in made, old
            made = made.replace(old, new)
        return made

    return edit


ARRIVALS = """
def poisson_arrivals(rate_per_s, duration_s, seed):
    rng = np.random.default_rng(seed)
    times = []
    t = rng.exponential(1 / rate_per_s)
    while t < duration_s:
        times.append(t)
        t += rng.exponential(1 / rate_per_s)
    return np.array(times)
"""
OPEN = """
def open_loop(arrivals_s, serve):
    log = np.empty((len(arrivals_s), 3))
    free = 0.0
    for k, arrival in enumerate(arrivals_s):
        start = max(arrival, free)
        free = serve(start)
        log[k] = arrival, arrival, free
    return log
"""
CLOSED = """
def closed_loop(duration_s, serve):
    rows, now = [], 0.0
    while now < duration_s:
        done = serve(now)
        rows.append([now, now, done])
        now = done
    return np.array(rows)
"""
loops = edited(ARRIVALS + OPEN + CLOSED)


def arrivals(body: str) -> str:
    head = "\ndef poisson_arrivals(rate_per_s, duration_s, seed):\n    "
    return head + body + "\n" + OPEN + CLOSED


DRAWN = "rng = np.random.default_rng(seed); "
LOOPS = Task(
    right=[
        ARRIVALS + OPEN + CLOSED,
        """
def poisson_arrivals(rate_per_s, duration_s, seed):
    rng = np.random.default_rng(seed)
    return np.sort(rng.random(rng.poisson(rate_per_s * duration_s))) * duration_s

def open_loop(arrivals_s, serve):
    done = []
    for arrival in arrivals_s:
        done.append(serve(arrival if not done or done[-1] <= arrival else done[-1]))
    return np.column_stack([arrivals_s, arrivals_s, done]).astype(float)

def closed_loop(duration_s, serve):
    sent = [0.0]
    while sent[-1] < duration_s:
        sent.append(serve(sent[-1]))
    return np.array([(a, a, b) for a, b in zip(sent, sent[1:])])
""",
        """
def poisson_arrivals(rate_per_s, duration_s, seed):
    rng = np.random.Generator(np.random.PCG64(seed))
    gaps = -np.log1p(-rng.random(int(rate_per_s * duration_s * 2 + 50))) / rate_per_s
    times = np.cumsum(gaps)
    return times[times < duration_s]

def open_loop(arrivals_s, serve):
    rows = []
    def one(before, arrival):
        end = serve(max(before, float(arrival)))
        rows.append([float(arrival)] * 2 + [end])
        return end
    import functools
    functools.reduce(one, arrivals_s, 0.0)
    return np.reshape(rows, (-1, 3))

def closed_loop(duration_s, serve):
    log, now = np.empty((0, 3)), 0
    while True:
        if now >= duration_s:
            return log
        end = serve(now)
        log = np.vstack([log, (now, now, end)])
        now = end
""",
    ],
    wrong={
        "global-dice": loops("rng = np.random.default_rng(seed)", "np.random.seed(seed); rng = np.random"),
        "unseeded": loops("default_rng(seed)", "default_rng()"),
        "seed-ignored": loops("default_rng(seed)", "default_rng(0)"),
        "no-times": arrivals(DRAWN + "return rng.exponential(1 / rate_per_s, (3, 4))"),
        "gaps-not-times": arrivals(
            DRAWN + "return rng.exponential(1 / rate_per_s, rng.poisson(rate_per_s * duration_s))"),
        "too-long": arrivals(
            DRAWN
            + "n = int(2 * rate_per_s * duration_s); return np.cumsum(rng.exponential(1 / rate_per_s, n))"),
        "wrong-rate": loops("rng.exponential(1 / rate_per_s)", "rng.exponential(rate_per_s)"),
        "constant-gaps": arrivals(
            DRAWN + "return np.arange(rng.random() / rate_per_s, duration_s, 1 / rate_per_s)"),
        "number-fixed": arrivals(
            DRAWN + "return np.sort(rng.uniform(0, duration_s, round(rate_per_s * duration_s)))"),
        "begins-at-zero": loops("t = rng.exponential(1 / rate_per_s)\n    while", "t = 0.0\n    while"),
        "other-gaps": loops("rng.exponential(1 / rate_per_s)", "rng.uniform(0, 2 / rate_per_s)"),
        "no-log": loops("return log\n", "return log[:, 2] - log[:, 0]\n"),
        "skips-what-was-due": ARRIVALS
        + CLOSED
        + """
def open_loop(arrivals_s, serve):
    rows, free = [], 0.0
    for arrival in arrivals_s:
        if arrival >= free:
            free = serve(arrival)
            rows.append((arrival, arrival, free))
    return np.array(rows)
""",
        "not-a-row-each": loops("return log\n", "return log[1:]\n"),
        "due-when-free": loops("arrival, arrival, free", "start, start, free"),
        "other-schedule": loops("arrival, arrival, free", "arrival - arrivals_s[0], arrival, free"),
        "sent-when-free": loops("arrival, arrival, free", "arrival, start, free"),
        "sent-off-schedule": loops("arrival, arrival, free", "arrival, free, free"),
        "asked-again": loops("free = serve(start)", "free = max(serve(start), serve(start))"),
        "no-queue": loops("start = max(arrival, free)", "start = arrival"),
        "lengths-not-times": loops("arrival, arrival, free", "arrival, arrival, free - arrival"),
        "wrong-finish": loops("free = serve(start)", "free = serve(start + 0.001)"),
        "last-left-out": loops("return np.array(rows)", "return np.array(rows[:-1])"),
        "sends-after-the-end": loops(
            "    return np.array(rows)", "    return np.array([*rows, [now, now, serve(now)]])"),
        "other-number": loops("now = done", "now = done + 0.05"),
        "sends-at-other-times": loops(
            "rows.append([now, now, done])", "rows.append([now, now + 0.001, done])"),
        "user-with-a-schedule": loops(
            "rows.append([now, now, done])", "rows.append([len(rows) * 0.01, now, done])"),
    },
    crashing=loops("log[k] = arrival, arrival, free", "log.append((arrival, arrival, free))"),
)

LATENCY_RIGHT = """
def latencies(log, timeout_s):
    waited = log[:, 2] - log[:, 0]
    waited[waited > timeout_s] = np.inf
    return waited

def percentile(values, percent):
    n = len(values)
    if n < 100 / (100 - percent):
        raise ValueError(f"{n} values are too few for p{percent}")
    rank = (percent * n + 99) // 100
    return sorted(values)[rank - 1]
"""
latency = edited(LATENCY_RIGHT)
LATENCY = Task(
    right=[
        LATENCY_RIGHT,
        """
def latencies(log, timeout_s):
    found = []
    for intended, _, finished in log:
        found.append(finished - intended if finished <= intended + timeout_s else math.inf)
    return np.array(found)

def percentile(values, percent):
    values = np.asarray(values)
    if (100 - percent) * values.size < 100:
        raise ValueError("too few")
    for value in np.unique(values):
        if 100 * np.count_nonzero(values <= value) >= percent * values.size:
            return value
""",
        """
def latencies(log, timeout_s):
    waited = np.diff(log[:, ::2], axis=1).ravel()
    np.putmask(waited, waited > timeout_s, math.inf)
    return waited

def percentile(values, percent):
    if len(values) < math.ceil(100 / (100 - percent)):
        raise ValueError("run longer")
    return float(np.percentile(values, percent, method="inverted_cdf"))
""",
    ],
    wrong={
        "unanswered-dropped": latency("return waited\n", "return waited[np.isfinite(waited)]\n"),
        "not-one-each": latency("return waited\n", "return waited[1:]\n"),
        "unanswered-nan": latency("timeout_s] = np.inf", "timeout_s] = np.nan"),
        "from-the-send": latency("log[:, 2] - log[:, 0]", "log[:, 2] - log[:, 1]"),
        "from-the-send-late": """
def latencies(log, timeout_s):
    in_time = log[:, 2] - log[:, 0] <= timeout_s
    return np.where(in_time, log[:, 2] - log[:, 1], np.inf)
"""
        + LATENCY_RIGHT[LATENCY_RIGHT.index("\ndef percentile") :],
        "timeout-from-the-send": latency(
            "waited[waited > timeout_s]", "waited[log[:, 2] - log[:, 1] > timeout_s]"),
        "timeout-ignored": latency("    waited[waited > timeout_s] = np.inf\n", ""),
        "timeouts-capped": latency("timeout_s] = np.inf", "timeout_s] = timeout_s"),
        "unanswered-zero": latency("timeout_s] = np.inf", "timeout_s] = 0.0"),
        "wrong-latency": latency("return waited\n", "return 1000 * waited\n"),
        "refuses-enough": latency("n < 100 / (100 - percent)", "n <= 100 / (100 - percent)"),
        "not-one-value": latency("return sorted(values)[rank - 1]", "return np.sort(values)[:rank]"),
        "answered-only": latency(
            "    rank =",
            "    values = [value for value in values if value < math.inf]\n    n = len(values)\n    rank ="),
        "rank-from-zero": latency(
            "return sorted(values)[rank - 1]", "return np.percentile(values, percent, method='higher')"),
        "rank-cut-off": latency("(percent * n + 99) // 100", "percent * n // 100"),
        "interpolated": latency("return sorted(values)[rank - 1]", "return np.percentile(values, percent)"),
        "from-the-top": latency("sorted(values)", "sorted(values, reverse=True)"),
        "not-sorted": latency("sorted(values)", "list(values)"),
        "mean-not-rank": latency("return sorted(values)[rank - 1]", "return np.mean(values)"),
        "wrong-rank": latency("[rank - 1]", "[rank - 3]"),
        "too-few": latency("n < 100 / (100 - percent)", "n == 0"),
    },
    crashing=latency("log[:, 2] - log[:, 0]", "log.finished - log.intended"),
)

LAW_RIGHT = """
def littles_law(log, begin_s, end_s):
    total, count, waited = 0.0, 0, 0.0
    for intended, sent, finished in log:
        total += max(0.0, min(finished, end_s) - max(intended, begin_s))
        if begin_s <= finished < end_s:
            count += 1
            waited += finished - intended
    length = end_s - begin_s
    return total / length, count / length, waited / count if count else 0.0
"""
STEADY = """
def is_steady(log, begin_s, end_s):
    L, X, W = littles_law(log, begin_s, end_s)
    return X > 0 and abs(L - X * W) <= 0.1 * X * W
"""
law = edited(LAW_RIGHT + STEADY)
RETURN = "return total / length, count / length, waited / count if count else 0.0"
SUMMED = "min(finished, end_s) - max(intended, begin_s)"


def steady(body: str) -> str:
    unpacked = "L, X, W = littles_law(log, begin_s, end_s)\n    "
    return f"{LAW_RIGHT}\ndef is_steady(log, begin_s, end_s):\n    {unpacked}{body}\n"


LITTLES_LAW = Task(
    right=[
        LAW_RIGHT + STEADY,
        """
def littles_law(log, begin_s, end_s):
    enter, leave = log[:, 0], log[:, 2]
    moments = np.sort(np.concatenate([enter, leave[np.isfinite(leave)], [begin_s, end_s]]))
    moments = moments[(moments >= begin_s) & (moments <= end_s)]
    inside = [np.sum(enter <= t) - np.sum(leave <= t) for t in moments[:-1]]
    in_flight = np.sum(np.array(inside) * np.diff(moments)) / (end_s - begin_s)
    answered = log[(leave >= begin_s) & (leave < end_s)]
    if not len(answered):
        return in_flight, 0.0, 0.0
    return in_flight, len(answered) / (end_s - begin_s), np.mean(answered[:, 2] - answered[:, 0])

def is_steady(log, begin_s, end_s):
    found = littles_law(log, begin_s, end_s)
    product = found[1] * found[2]
    if product == 0:
        return False
    return bool(0.9 <= found[0] / product <= 1.1)
""",
        """
def littles_law(log, begin_s, end_s):
    length = end_s - begin_s
    here = np.minimum(log[:, 2], end_s) - np.maximum(log[:, 0], begin_s)
    gone = np.logical_and(log[:, 2] >= begin_s, log[:, 2] < end_s)
    stays = (log[:, 2] - log[:, 0])[gone]
    return np.array([here[here > 0].sum() / length, gone.sum() / length, stays.sum() / max(1, gone.sum())])

def is_steady(log, begin_s, end_s):
    L, X, W = littles_law(log, begin_s, end_s)
    return math.isclose(L, X * W, rel_tol=0, abs_tol=0.1 * X * W) if X else False
""",
    ],
    wrong={
        "not-three-values": law(RETURN, "return total / length"),
        "order-of-three": law(
            RETURN, "return count / length, total / length, waited / count if count else 0.0"),
        "law-as-definition": law(RETURN, "X, W = count / length, waited / max(count, 1); return X * W, X, W"),
        "stays-not-cut": law(
            "total += max(0.0, min(finished, end_s) - max(intended, begin_s))",
            "total += finished - intended if begin_s <= intended < end_s and finished < math.inf else 0"),
        "in-flight-from-the-send": law(SUMMED, "min(finished, end_s) - max(sent, begin_s)"),
        "unanswered-not-inside": law(
            "    for intended, sent, finished in log:\n",
            "    for intended, sent, finished in log[np.isfinite(log[:, 2])]:\n"),
        "not-a-mean-over-time": law("return total / length", "return total"),
        "whoever-touches-it": law(
            f"max(0.0, {SUMMED})", "(intended < end_s and finished >= begin_s) * (end_s - begin_s)"),
        "at-one-moment": law(f"max(0.0, {SUMMED})", "(intended <= begin_s < finished) * (end_s - begin_s)"),
        "sampled-not-counted": law(
            RETURN, "L = np.mean([((log[:, 0] <= t) & (log[:, 2] > t)).sum() for t in "
            "np.linspace(begin_s, end_s, 200)]); return L, count / length, waited / max(count, 1)"),
        "wrong-in-flight": law("return total / length", "return total / len(log)"),
        "arrivals-not-answers": law(
            RETURN, "came = ((log[:, 0] >= begin_s) & (log[:, 0] < end_s)).sum(); "
            "return total / length, came / length, waited / max(count, 1)"),
        "count-not-rate": law("count / length,", "count,"),
        "whole-log": law("count / length,", "np.isfinite(log[:, 2]).sum() / length,"),
        "came-and-went-inside": law(
            "count / length,", "((log[:, 0] >= begin_s) & (log[:, 2] < end_s)).sum() / length,"),
        "wrong-throughput": law("count / length,", "count / end_s,"),
        "latency-from-the-send": law("waited += finished - intended", "waited += finished - sent"),
        "latency-of-all": law(
            "waited / count if count else 0.0", "np.mean((log[:, 2] - log[:, 0])[np.isfinite(log[:, 2])])"),
        "latency-of-arrivals": law(
            "waited / count if count else 0.0",
            "np.mean([c - a for a, _, c in log if begin_s <= a < end_s and c < math.inf])"),
        "median-latency": law(
            "waited / count if count else 0.0",
            "np.median([c - a for a, _, c in log if begin_s <= c < end_s])"),
        "wrong-mean": law("waited / count if", "waited / length if"),
        "no-yes-or-no": steady("return 'steady' if abs(L - X * W) <= 0.1 * X * W else 'not'"),
        "blames-the-steady": steady("return bool(L == X * W)"),
        "misses-the-growing": steady("return X > 0 and X * W <= 1.1 * L"),
        "misses-the-lost": steady(
            "L = littles_law(log[log[:, 2] < math.inf], begin_s, end_s)[0]\n"
            "    return X > 0 and abs(L - X * W) <= 0.1 * X * W"),
        "narrower-than-said": steady("return X > 0 and abs(L - X * W) <= 0.03 * X * W"),
        "wider-than-said": steady("return X > 0 and abs(L - X * W) <= 0.5 * L"),
        "silence-is-steady": steady("return X == 0 or abs(L - X * W) <= 0.1 * X * W"),
        "one-sided": steady("return X > 0 and L - X * W <= 0.1 * X * W"),
    },
    crashing=law("for intended, sent, finished in log:", "for intended, finished in log:"),
)

FILE_RIGHT = """
def locustfile():
    return '''
import json, time
import gevent
from locust import FastHttpUser, task

PLAN = json.load(open("plan.json"))


class Reader(FastHttpUser):
    concurrency = 1000
    network_timeout = PLAN["timeout_s"]

    @task
    def go(self):
        start = time.perf_counter()
        log = []

        def one(intended):
            sent = time.perf_counter() - start
            response = self.client.get(PLAN["path"])
            finished = time.perf_counter() - start
            log.append([intended, sent, finished if response.status_code == 200 else None])

        threads = []
        for intended in PLAN["arrivals_s"]:
            gevent.sleep(max(0, start + intended - time.perf_counter()))
            threads.append(gevent.spawn(one, intended))
        gevent.joinall(threads)
        json.dump(log, open("log.json", "w"))
        gevent.sleep(3600)
'''
"""
file = edited(FILE_RIGHT)
POOL = """
def locustfile():
    text = '''
import json
from time import sleep, time

from gevent.pool import Pool
from geventhttpclient.client import HTTPClientPool
from locust import FastHttpUser, events, task

with open("plan.json") as file:
    PLAN = json.load(file)
LOG = []


class Visitor(FastHttpUser):
    client_pool = HTTPClientPool(concurrency=500)
    network_timeout = PLAN["timeout_s"]

    def on_start(self):
        self.zero = time()

    @task
    def everything(self):
        pool = Pool(500)
        for number, due in enumerate(PLAN["arrivals_s"]):
            while time() - self.zero < due:
                sleep(max(0.0005, due - (time() - self.zero)))
            pool.apply_async(self.visit, (number, due))
        pool.join()
        with open("log.json", "w") as file:
            file.write(json.dumps(sorted(LOG)))
        sleep(1000)

    def visit(self, number, due):
        row = [due, time() - self.zero, None]
        LOG.append(row)
        with self.client.get(PLAN["path"], catch_response=True) as response:
            if response.status_code == 200:
                row[2] = time() - self.zero
'''
    return text
"""
LATER = """
def locustfile():
    lines = [
        "import json, pathlib, time, gevent",
        "from locust import FastHttpUser, task",
        "plan = json.loads(pathlib.Path('plan.json').read_text())",
        "class User(FastHttpUser):",
        "    concurrency = len(plan['arrivals_s']) + 1",
        "    network_timeout = connection_timeout = plan['timeout_s']",
        "    @task",
        "    def work(self):",
        "        zero, rows = time.monotonic(), {}",
        "        def send(k, due):",
        "            rows[k] = [due, time.monotonic() - zero, None]",
        "            ok = self.client.get(plan['path']).status_code == 200",
        "            rows[k][2] = time.monotonic() - zero if ok else None",
        "        jobs = [gevent.spawn_later(due, send, k, due) for k, due in enumerate(plan['arrivals_s'])]",
        "        gevent.joinall(jobs)",
        "        pathlib.Path('log.json').write_text(json.dumps(list(rows.values())))",
        "        gevent.sleep(10**6)",
    ]
    return chr(10).join(lines)
"""
RECORD = "log.append([intended, sent, finished if response.status_code == 200 else None])"
LOCUSTFILE = Task(
    right=[FILE_RIGHT, POOL, LATER],
    wrong={
        "no-python": file("PLAN = json.load(", "PLAN = json.load(("),
        "not-your-own": file("import gevent\n", "import gevent\nimport scalelab.loadtest\n"),
        "nothing-sent": file("def go(self)", "def run(self)"),
        "waits-for-answers": file("threads.append(gevent.spawn(one, intended))", "one(intended)"),
        "ten-connections": file("    concurrency = 1000\n", ""),
        "all-at-once": file("            gevent.sleep(max(0, start + intended - time.perf_counter()))\n", ""),
        "rows-missing": file(
            RECORD, "response.status_code == 200 and log.append([intended, sent, finished])"),
        "due-when-sent": file("log.append([intended, sent,", "log.append([sent, sent,"),
        "errors-are-answers": file("response.status_code == 200", "response.status_code"),
        "finished-too-early": file(
            '            response = self.client.get(PLAN["path"])\n'
            "            finished = time.perf_counter() - start\n",
            "            finished = time.perf_counter() - start\n"
            '            response = self.client.get(PLAN["path"])\n'),
    },
    crashing=file("    return '''", "    return locust + '''"),
)

KNEE_RIGHT = """
def find_knee(measure, rates, slo_s=0.2):
    low, high = 0, len(rates)
    while low < high:
        middle = (low + high) // 2
        for attempt in (1, 2):
            seen = measure(rates[middle])
            if seen["p95_s"] < slo_s:
                low = middle + 1
                break
            if seen["generator_busy"]:
                return (rates[low - 1] if low else 0), "INCONCLUSIVE"
        else:
            high = middle
    if low == 0:
        return 0, "FAIL"
    return rates[low - 1], "INCONCLUSIVE" if low == len(rates) else "PASS"
"""
knee = edited(KNEE_RIGHT)
KNEE = Task(
    right=[
        KNEE_RIGHT,
        """
def find_knee(measure, rates, slo_s=0.2):
    def verdict(rate):
        window = measure(rate)
        if window["p95_s"] < slo_s:
            return "PASS"
        return "INCONCLUSIVE" if window["generator_busy"] else "FAIL"

    def search(left, best):
        if not left:
            return best, None
        middle = len(left) // 2
        said = verdict(left[middle])
        if said == "FAIL":
            said = verdict(left[middle])
        if said == "INCONCLUSIVE":
            return best, said
        if said == "PASS":
            return search(left[middle + 1:], left[middle])
        return search(left[:middle], best)

    best, said = search(list(rates), 0)
    if said is None:
        said = "FAIL" if best == 0 else "INCONCLUSIVE" if best == rates[-1] else "PASS"
    return best, said
""",
        """
def find_knee(measure, rates, slo_s=0.2):
    known = {-1: True, len(rates): False}
    best = -1
    while True:
        good = max(k for k, v in known.items() if v)
        bad = min(k for k, v in known.items() if not v)
        if bad == good + 1:
            break
        k = good + (bad - good) // 2
        first = measure(rates[k])
        tries = [first]
        if first["p95_s"] >= slo_s and not first["generator_busy"]:
            tries.append(measure(rates[k]))
        known[k] = any(each["p95_s"] < slo_s for each in tries)
        if not known[k] and tries[-1]["generator_busy"]:
            return (rates[good], "INCONCLUSIVE") if good >= 0 else (0, "INCONCLUSIVE")
    if good == -1:
        return [0, "FAIL"]
    if bad == len(rates):
        return [rates[good], "INCONCLUSIVE"]
    return [rates[good], "PASS"]
""",
    ],
    wrong={
        "not-two-values": knee('return 0, "FAIL"', "return 0")
        .replace(
            'return rates[low - 1], "INCONCLUSIVE" if low == len(rates) else "PASS"',
            "return rates[low - 1]",
        )
        .replace('0), "INCONCLUSIVE"', "0)"),
        "unknown-verdict": knee('"PASS"', '"pass"'),
        "nothing-measured": """
def find_knee(measure, rates, slo_s=0.2):
    return rates[len(rates) // 2], "PASS"
""",
        "rate-not-listed": knee("measure(rates[middle])", "measure(rates[middle] + 0.5)"),
        "goes-on-when-busy": knee(
            '                return (rates[low - 1] if low else 0), "INCONCLUSIVE"', "                pass"),
        "blames-the-service": knee('low else 0), "INCONCLUSIVE"', 'low else 0), "PASS"'),
        "best-so-far": knee("return (rates[low - 1] if low else 0)", "return rates[middle]"),
        "measured-again": knee("for attempt in (1, 2)", "for attempt in (1, 2, 3)"),
        "too-many-windows": """
def find_knee(measure, rates, slo_s=0.2):
    best = 0
    for rate in rates:
        for attempt in (1, 2):
            seen = measure(rate)
            if seen["p95_s"] < slo_s:
                best = rate
                break
            if seen["generator_busy"]:
                return best, "INCONCLUSIVE"
        else:
            return best, "PASS" if best else "FAIL"
    return best, "INCONCLUSIVE"
""",
        "both-must-pass": """
def find_knee(measure, rates, slo_s=0.2):
    low, high = 0, len(rates)
    while low < high:
        middle, good = (low + high) // 2, 0
        for attempt in (1, 2):
            seen = measure(rates[middle])
            good += seen["p95_s"] < slo_s
            if seen["p95_s"] >= slo_s and seen["generator_busy"]:
                return (rates[low - 1] if low else 0), "INCONCLUSIVE"
        low, high = (middle + 1, high) if good == 2 else (low, middle)
    if low == 0:
        return 0, "FAIL"
    return rates[low - 1], "INCONCLUSIVE" if low == len(rates) else "PASS"
""",
        "good-is-good": """
def find_knee(measure, rates, slo_s=0.2):
    low, high = 0, len(rates)
    while low < high:
        middle = (low + high) // 2
        for attempt in (1, 2):
            seen = measure(rates[middle])
            if seen["generator_busy"]:
                return (rates[low - 1] if low else 0), "INCONCLUSIVE"
            if seen["p95_s"] < slo_s:
                low = middle + 1
                break
        else:
            high = middle
    if low == 0:
        return 0, "FAIL"
    return rates[low - 1], "INCONCLUSIVE" if low == len(rates) else "PASS"
""",
        "border-passes": knee('seen["p95_s"] < slo_s', 'seen["p95_s"] <= slo_s'),
        "slo-ignored": knee('seen["p95_s"] < slo_s', 'seen["p95_s"] < 0.2'),
        "failed-at-once": knee("for attempt in (1, 2)", "for attempt in (1,)"),
        "first-that-failed": knee(
            'return rates[low - 1], "INCON', 'return rates[min(low, len(rates) - 1)], "INCON'),
        "none-is-zero": knee('return 0, "FAIL"', 'return rates[0], "FAIL"'),
        "wrong-knee": knee("high = middle", "high = max(middle - 1, low)"),
        "nothing-held": knee('return 0, "FAIL"', 'return 0, "PASS"'),
        "end-of-list": knee('"INCONCLUSIVE" if low == len(rates) else "PASS"', '"PASS"'),
        "wrong-verdict": knee('"INCONCLUSIVE" if low == len(rates) else "PASS"', '"INCONCLUSIVE"'),
    },
    crashing=knee('seen["p95_s"]', "seen.p95_s"),
)

MENDED = """
def load_test(arrivals_s, serve, timeout_s):
    values = latencies(open_loop(arrivals_s, serve), timeout_s)
    return percentile(values, 50), percentile(values, 95), percentile(values, 99)
"""
TRUTH = """
def tells_the_truth(test):
    arrivals = np.arange(3000) / 100
    for stall, timeout in (([(5.0, 7.0)], 60.0), ([(5.0, 12.0)], 1.0)):
        said = test(arrivals, Server(0.001, stall).serve, timeout)
        if not np.allclose(said, load_test(arrivals, Server(0.001, stall).serve, timeout), rtol=0.01):
            return False
    return True
"""
mended, truth = edited(MENDED + TRUTH), edited(MENDED + TRUTH)
BROKEN = """
def load_test(arrivals_s, serve, timeout_s):
    waited_s, free_s = [], 0.0
    for arrival_s in arrivals_s:
        begin_s = max(arrival_s, free_s)
        free_s = serve(begin_s)
        waited = free_s - DUE
        KEEP
    return tuple(percentile(np.array(waited_s), p) for p in (50, 95, 99))
"""


def broken(due: str, keep: str) -> str:
    return BROKEN.replace("DUE", due).replace("KEEP", keep) + TRUTH


KEPT = "waited_s.append(waited if waited <= timeout_s else math.inf)"
DRILL = Task(
    right=[
        MENDED + TRUTH,
        broken("arrival_s", KEPT)[: -len(TRUTH)]
        + """
def tells_the_truth(test):
    rng = np.random.default_rng(3)
    for _ in range(4):
        arrivals = poisson_arrivals(80, 20, int(rng.integers(1000)))
        begin, length = rng.uniform(2, 5), rng.uniform(3, 6)
        stalls = [(begin, begin + length)]
        for timeout in (0.3 * length, 100.0):
            log = open_loop(arrivals, Server(0.002, stalls).serve)
            values = sorted(latencies(log, timeout))
            wanted = [percentile(values, p) for p in (50, 95, 99)]
            found = test(arrivals, Server(0.002, stalls).serve, timeout)
            for a, b in zip(found, wanted):
                if not (a == b or abs(a - b) < 0.01 * b):
                    return False
    return True
""",
        """
def load_test(arrivals_s, serve, timeout_s):
    log = open_loop(arrivals_s, serve)
    log[log[:, 2] > log[:, 0] + timeout_s, 2] = np.inf
    waited = np.sort(log[:, 2] - log[:, 0])
    return [waited[math.ceil(p * len(waited) / 100) - 1] for p in (50, 95, 99)]

def tells_the_truth(test):
    even = np.arange(1000) / 100
    p50, p95, p99 = test(even, Server(0.001, [(8.0, 9.0)]).serve, 50.0)
    is_true = abs(p50 - 0.001) < 1e-5 and 0.5 < p95 < 0.6 and 0.9 < p99 < 1.0
    late = test(even, Server(0.001, [(8.0, 9.0)]).serve, 0.3)
    return bool(is_true and math.isinf(late[1]) and math.isinf(late[2]) and late[0] < 0.01)
""",
    ],
    wrong={
        "still-polite": broken("begin_s", KEPT),
        "still-drops": broken("arrival_s", "waited_s += [waited] if waited <= timeout_s else []"),
        "timeout-not-used": broken("arrival_s", "waited_s.append(waited)"),
        "still-caps": broken("arrival_s", "waited_s.append(min(waited, timeout_s))"),
        "still-averages": """
def load_test(arrivals_s, serve, timeout_s):
    values = latencies(open_loop(arrivals_s, serve), timeout_s)
    parts = np.array_split(values, 10)
    return tuple(np.mean([percentile(part, p) if p < 99 else np.sort(part)[-1] for part in parts])
                 for p in (50, 95, 99))
"""
        + TRUTH,
        "still-wrong": mended("percentile(values, 50), ", "np.mean(values), "),
        "not-three-values": mended("percentile(values, 50), ", ""),
        "no-yes-or-no": truth("    return True", "    return 'ok'").replace(
            "return False", "return 'not ok'"
        ),
        "test-blames": truth("rtol=0.01", "rtol=0, atol=0").replace(
            "load_test(arrivals, Server", "load_test(arrivals + 1e-4, Server"
        ),
        "test-finds-nothing": truth("return False", "return True"),
        "test-misses-polite": MENDED
        + """
def tells_the_truth(test):
    rare, calls = np.arange(1000) * 10.0, []
    if min(test(rare, Server(2.0).serve, 1.0)) < math.inf:
        return False

    def serve(begin_s):
        calls.append(begin_s)
        return begin_s + (5.0 if 900 <= len(calls) < 905 else 0.001)

    return bool(test(rare, serve, 20.0)[2] < 0.1)
""",
        "test-misses-drops": truth("([(5.0, 12.0)], 1.0)", "([(5.0, 5.0)], 1.0)").replace(
            "    return True",
            "    return test(np.arange(500.0), Server(2.0).serve, 1.0)[2] != 1.0",
        ),
        "test-misses-caps": truth("not np.allclose(said,", "not CLOSE(said,")
        .replace(
            "CLOSE(said, load_test(arrivals, Server(0.001, stall).serve, timeout), rtol=0.01)",
            "all(a == b or abs(a - b) <= 0.01 * b for a, b in zip(said, load_test("
            "arrivals, Server(0.001, stall).serve, timeout)))",
        )
        .replace("    return True", "    return bool(said[1] >= timeout)"),
        "test-misses-windows": MENDED
        + """
def tells_the_truth(test):
    even = np.arange(1000) / 100
    late = test(even, Server(0.001, [(2.0, 7.0)]).serve, 0.5)
    said = test(even, Server(0.02).serve, 60.0)
    p50, p95, p99 = said
    return bool(math.isinf(late[2]) and p50 > 1.0 and p99 > p50)
""",
    },
    crashing=mended("latencies(open_loop(", "latencies(open_loop.log("),
)

ANSWERS = {
    "loops": LOOPS,
    "latency": LATENCY,
    "littles_law": LITTLES_LAW,
    "locustfile": LOCUSTFILE,
    "knee": KNEE,
    "drill": DRILL,
}
