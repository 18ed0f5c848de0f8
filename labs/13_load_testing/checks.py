"""Checks of lab 13: queues by recursion, ranks by sorting, arrivals and searches by counting.

Logs in this file are (N, 3) float64 [s]: intended, sent, finished; inf where no good answer came.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scalelab.grading import Answers, check, expect_type
from scalelab.grading.meanings import Meanings
from scalelab.loadtest.paper import PaperServer, count_law, nearest_ranks, queue

MEANINGS = Meanings(__file__)
HINTS = {task: tuple(three) for task, three in MEANINGS.pop("hints").items()}
fail_if, tell, close, parts = MEANINGS.fail_if, MEANINGS.tell, MEANINGS.close, MEANINGS.parts


def fail_first(told: str, **cases: object) -> None:
    """Fail with the first code whose case is true; codes are written with underscores here."""
    for code, is_so in cases.items():
        fail_if(is_so, told, code.replace("_", "-"))


@check("loops", points=4, limit_s=30, hints=HINTS["loops"])
def two_loops(answers: Answers) -> None:
    """Draw Poisson arrivals, and write the log of an open and of a closed loop."""
    check_arrivals(answers)
    rng = answers.rng
    service_s, stall_s = float(rng.uniform(0.03, 0.06)), float(rng.uniform(1.0, 1.4))
    paper = {"service_s": service_s, "stalls": [[stall_s, stall_s + float(rng.uniform(0.6, 0.9))]]}
    times = np.sort(rng.uniform(0, 4, 48)) + 0.01
    seen = answers.inside("try_loop", loop="open_loop", first=times, **paper)
    log, server = as_log(seen["log"], "open_loop"), PaperServer(**paper)
    wanted, begun, n = queue(times, server), np.array(server.begun_s), len(times)
    is_skipping = len(log) == len(queue(times, PaperServer(**paper), skips=True)) < n
    told = f"{n} requests were due, the log has {len(log)}"
    fail_first(told, skips_what_was_due=is_skipping, not_a_row_each=len(log) != n)
    late = ~np.isclose(log[:, 0], times)
    told = f"the request due at {times[late.argmax()]:.3f} s is logged as due at {log[late.argmax(), 0]:.3f}"
    fail_first(told, due_when_free=np.allclose(log[:, 0], begun), other_schedule=late.any())
    is_late, is_off = np.allclose(log[:, 1], begun), not np.allclose(log[:, 1], times)
    fail_first("the second column is not the schedule", sent_when_free=is_late, sent_off_schedule=is_off)
    asked = len(seen["begun"])
    fail_if(asked != n, f"the server was asked {asked} times for {n} requests", "asked-again")
    at_once = np.array([PaperServer(**paper).serve(arrival) for arrival in times])
    told = f"the last request is finished at {log[-1, 2]:.3f} s, wanted {wanted[-1, 2]:.3f}"
    tell(log[:, 2], wanted[:, 2], {"no-queue": at_once, "lengths-not-times": wanted[:, 2] - times}, told)
    close(log[:, 2], wanted[:, 2], "when requests are finished", "wrong-finish")
    check_closed(answers, paper)


def check_arrivals(answers: Answers) -> None:
    rate, length = float(answers.rng.uniform(150, 250)), 10.0
    seeds = answers.rng.integers(1, 2**31, 8).tolist()
    seen = answers.inside("try_dice", rate_per_s=rate, duration_s=length, seeds=seeds)
    drawn, again = ([as_times(each) for each in seen[name]] for name in ("first", "again"))
    first, counts = drawn[0], np.array([len(each) for each in drawn])
    told = (
        f"a rate of {rate:.0f}/s for {length:g} s gave {counts[0]} arrivals, the first {first[:3].round(4)}"
    )
    same = map(np.array_equal, drawn, again)
    fail_first(told, global_dice=seen["is_moved"], unseeded=not all(same))
    ascends = all((np.diff(each) >= 0).all() for each in drawn)
    fail_first(told, gaps_not_times=not ascends, too_long=any((each >= length).any() for each in drawn))
    gaps = np.concatenate([np.diff(each) for each in drawn]) * rate
    fail_first(told, wrong_rate=counts.min() < 2 or abs(gaps.mean() - 1) > 0.1)
    fail_first(told, seed_ignored=np.array_equal(first, drawn[1]))
    is_fixed, is_zero = (counts == counts[0]).all(), all(each[0] == 0 for each in drawn)
    fail_first(told, constant_gaps=gaps.std() < 0.1, number_fixed=is_fixed, begins_at_zero=is_zero)
    n, law = len(gaps), 1 - np.exp(-np.sort(gaps))  # Kolmogorov: beyond 2.7 / sqrt(n) once in a million
    far = np.maximum(law - np.arange(n) / n, np.arange(1, n + 1) / n - law).max()
    fail_if(far > 2.7 / math.sqrt(n), f"the gaps are {far:.2f} off the exponential", "other-gaps")


def as_times(value: Any) -> np.ndarray:
    expect_type(value, (np.ndarray, list, tuple), what="what poisson_arrivals returned")
    array = np.asarray(value)
    told = f"poisson_arrivals returned an array of shape {array.shape}, {array.dtype}"
    fail_if(array.ndim != 1 or array.dtype.kind not in "fi", told, "no-times")
    return array.astype(float)


def as_log(value: Any, name: str) -> np.ndarray:
    expect_type(value, (np.ndarray, list), what=f"what {name} returned")
    try:
        log = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        log = np.empty(0)
    fail_if(log.ndim != 2 or log.shape[1] != 3, f"{name} returned shape {log.shape}", "no-log")
    return log


def check_closed(answers: Answers, paper: dict[str, Any]) -> None:
    length, rows, now_s, server = 3.0 + paper["service_s"] / 3, [], 0.0, PaperServer(**paper)
    while now_s < length:
        rows.append((now_s, now_s, server.serve(now_s)))
        now_s = rows[-1][2]
    wanted, n = np.array(rows), len(rows)
    seen = answers.inside("try_loop", loop="closed_loop", first=length, **paper)
    log = as_log(seen["log"], "closed_loop")
    told = f"in {length:.2f} s your one user sent {len(log)} requests, wanted {n}"
    fail_first(told, last_left_out=len(log) == n - 1, sends_after_the_end=len(log) == n + 1)
    fail_first(told, other_number=len(log) != n)
    close(log[:, 1], wanted[:, 1], "when the closed loop sends", "sends-at-other-times", atol=1e-9)
    fail_if(not np.allclose(log[:, 0], log[:, 1]), "intended and sent differ", "user-with-a-schedule")
    close(log[:, 2], wanted[:, 2], "when the closed loop is answered", "wrong-finish")


@check("latency", points=4, hints=HINTS["latency"])
def latency_from_the_intended_send(answers: Answers) -> None:
    """Count latency from the intended send, the unanswered as infinite, and find percentiles by rank."""
    timeout = float(answers.rng.uniform(2.0, 3.0))
    log = draw_log(answers.rng, 240, timeout)
    (intended, sent, finished), value = log.T, answers["latencies"](log, timeout)
    expect_type(value, np.ndarray, what="what latencies returned")
    found, waited, quick = np.asarray(value, dtype=float), finished - intended, finished - sent
    wanted = np.where(in_time := waited <= timeout, waited, np.inf)
    told = f"the log has {len(log)} requests, latencies returned {found.shape} values"
    is_short = found.shape in [(in_time.sum(),), (np.isfinite(waited).sum(),)]
    fail_first(told, unanswered_dropped=is_short, not_one_each=found.shape != wanted.shape)
    fail_if(np.isnan(found).any(), f"{np.isnan(found).sum()} latencies are NaN", "unanswered-nan")
    slips = {
        "from-the-send": np.where(quick <= timeout, quick, np.inf),
        "from-the-send-late": np.where(in_time, quick, np.inf),
        "timeout-from-the-send": np.where(quick <= timeout, waited, np.inf),
        "timeout-ignored": waited,
        "timeouts-capped": np.minimum(waited, timeout),
        "unanswered-zero": np.where(in_time, waited, 0.0),
    }
    at = int((~np.isclose(found, wanted)).argmax())
    told = f"due {intended[at]:.3f}, sent {sent[at]:.3f}, finished {finished[at]:.3f}, timeout {timeout:.3f}"
    tell(found, wanted, slips, f"{told}: you gave {found[at]:.4g} s, wanted {wanted[at]:.4g}")
    close(found, wanted, "the latencies", "wrong-latency")
    check_percentile(answers)


def draw_log(rng: np.random.Generator, n: int, timeout: float) -> np.ndarray:
    """Draw a log in which some are sent late, some answered too late, and some never."""
    intended = np.sort(rng.uniform(0, 10, n))
    sent = intended + np.where(rng.random(n) < 0.4, rng.uniform(0.1, 0.9 * timeout, n), 0.0)
    finished = sent + rng.uniform(0.005, 0.6 * timeout, n)
    finished[rng.choice(n, n // 10, replace=False)] = np.inf
    slow = rng.choice(n, n // 12, replace=False)
    finished[slow] = intended[slow] + timeout * rng.uniform(1.1, 2, n // 12)
    return np.stack([intended, sent, finished], axis=1)


def check_percentile(answers: Answers) -> None:
    rng, some = answers.rng, 61 + int(answers.rng.integers(18))
    for percent, n, lost in ((50, 137, 0), (95, some, 0), (95, 200, 0), (95, 150, 12), (99, 450, 3)):
        values = rng.permutation(np.append(rng.exponential(0.1, n - lost) + 0.01, np.full(lost, np.inf)))
        rank, low = -(-percent * n // 100), values.argmin()
        values[[low, rank - 1]] = values[[rank - 1, low]]  # who forgets to sort shall be seen
        seen = answers.inside("try_percentile", values=values, percent=percent)
        told = f"p{percent} of {n} values, {lost} of them inf,"
        fail_if(seen["refused"], f"{told} was refused", "refuses-enough")
        expect_type(seen["value"], (float, int, np.number, np.ndarray), what="what percentile returned")
        fail_if(np.size(seen["value"]) != 1, f"{told} is {np.size(seen['value'])} values", "not-one-value")
        found, ordered = float(np.ravel(seen["value"])[0]), np.sort(values)
        (wanted,) = nearest_ranks(values, [percent])
        told += f" is {found:.6g}, wanted {wanted:.6g}"
        fail_first(told, answered_only=math.isinf(wanted) and not math.isinf(found))
        slips = {
            "rank-cut-off": ordered[percent * n // 100 - 1],
            "rank-from-zero": ordered[min(rank, n - 1)],
            "interpolated": np.percentile(values, percent) if not lost else np.nan,
            "from-the-top": ordered[n - rank],
            "not-sorted": values[rank - 1],
            "mean-not-rank": values.mean(),
        }
        is_right = found == wanted or math.isclose(found, wanted, rel_tol=1e-6)
        if not is_right:
            tell(found, wanted, slips, told, rtol=1e-9)
        fail_first(told, wrong_rank=not is_right)
    for percent, n, is_few in ((99, 99, 1), (99, 100, 0), (95, 19, 1), (95, 20, 0), (50, 1, 1), (50, 2, 0)):
        seen = answers.inside("try_percentile", values=np.arange(n, dtype=float), percent=percent)
        told = f"p{percent} of {n} value{'s' * (n > 1)} was {'refused' if seen['refused'] else 'given'}"
        fail_first(told, too_few=is_few > seen["refused"], refuses_enough=is_few < seen["refused"])


@check("littles_law", points=4, hints=HINTS["littles_law"])
def law_of_little(answers: Answers) -> None:
    """Count requests in flight, throughput and latency of a window, and see if Little's law holds."""
    rng = answers.rng
    log = draw_log(rng, 300, 1.5)
    begin, end = float(rng.uniform(2.5, 3.5)), float(rng.uniform(7, 8))
    value = parts(answers["littles_law"](log, begin, end), 3, "what littles_law returned", "not-three-values")
    found, wanted = [float(each) for each in value], count_law(log, begin, end)
    is_turned = np.allclose(sorted(found), sorted(wanted)) and not np.allclose(found, wanted)
    fail_if(is_turned, f"you gave {np.round(found, 4)}", "order-of-three")
    (intended, sent, finished), length, (inside, rate, mean) = log.T, end - begin, wanted
    is_out, is_in = (finished >= begin) & (finished < end), (intended >= begin) & (intended < end)
    left, came, went = np.clip(finished, begin, end), np.clip(intended, begin, end), np.isfinite(finished)
    slips = {
        "law-as-definition": rate * mean,
        "stays-not-cut": waited_in(log, is_in & went).sum() / length,
        "in-flight-from-the-send": (left - np.clip(sent, begin, end)).sum() / length,
        "unanswered-not-inside": (left - came)[went].sum() / length,
        "not-a-mean-over-time": inside * length,
        "whoever-touches-it": ((intended < end) & (finished >= begin)).sum(),
        "at-one-moment": ((intended <= begin) & (finished > begin)).sum(),
    }
    told = f"in flight over [{begin:.2f}, {end:.2f}): you gave {found[0]:.5f}, wanted {inside:.5f}"
    tell(found[0], inside, slips, told)
    fail_first(told, sampled_not_counted=1e-7 < abs(found[0] / inside - 1) < 0.03)
    close(found[0], inside, "requests in flight", "wrong-in-flight", rtol=1e-7)
    slips = {
        "arrivals-not-answers": is_in.sum() / length,
        "count-not-rate": is_out.sum(),
        "whole-log": went.sum() / length,
        "came-and-went-inside": (is_in & is_out).sum() / length,
    }
    tell(found[1], rate, slips, f"throughput: you gave {found[1]:.4f} a second, wanted {rate:.4f}")
    close(found[1], rate, "throughput", "wrong-throughput")
    slips = {
        "latency-from-the-send": (finished - sent)[is_out].mean(),
        "latency-of-all": waited_in(log, went).mean(),
        "latency-of-arrivals": waited_in(log, is_in & went).mean(),
        "median-latency": np.median(waited_in(log, is_out)),
        "law-as-definition": inside / rate,
    }
    tell(found[2], mean, slips, f"latency: you gave {found[2]:.4f} s, wanted {mean:.4f}")
    close(found[2], mean, "mean latency", "wrong-mean")
    check_steady(answers)


def waited_in(log: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return log[rows, 2] - log[rows, 0]


def check_steady(answers: Answers) -> None:
    rng, calm = answers.rng, np.arange(600) / 100 + 0.004
    steady = np.stack([calm, calm, calm + rng.uniform(0.1, 0.3, 600)], axis=1)
    growing, lossy, silent, draining = (steady.copy() for _ in "1234")
    growing[:, 2] += 1.5 * calm  # a queue that only grows
    lossy[rng.choice(600, 120, replace=False), 2] = np.inf
    silent[:, 2], lost = np.inf, [[0.5, 0.5, np.inf]]
    draining[:300, 2] += 3 - calm[:300]  # what waited leaves at once
    cases = (
        ("calm", steady, 1.0, 5.0, True, "blames-the-steady"),
        ("filling", growing, 1.0, 5.0, False, "misses-the-growing"),
        ("losing one in five", lossy, 1.0, 5.0, False, "misses-the-lost"),
        ("losing 1 of 20", np.vstack([steady, lost]), 1.0, 5.0, True, "narrower-than-said"),
        ("losing 3 of 20", np.vstack([steady, lost, lost, lost]), 1.0, 5.0, False, "wider-than-said"),
        ("without answers", silent, 1.0, 5.0, False, "silence-is-steady"),
        ("draining", draining, 3.05, 3.6, False, "one-sided"),
    )
    for name, log, begin, end, wanted, code in cases:
        said = answers["is_steady"](log, begin, end)
        fail_if(not isinstance(said, bool | np.bool_), f"is_steady returned {said!r}", "no-yes-or-no")
        inside, rate, mean = count_law(log, begin, end)
        told = f"a system that is {name}: L = {inside:.2f}, X W = {rate * mean:.2f}, you said {said}"
        fail_if(bool(said) != wanted, told, code)


@check("locustfile", points=4, limit_s=150, hints=HINTS["locustfile"])
def locustfile_on_schedule(answers: Answers) -> None:
    """Write a locustfile that sends on schedule, and logs every request; it is run by locust."""
    rng, n, text = answers.rng, 60, answers["locustfile"]()
    expect_type(text, str, what="what locustfile returned")
    try:
        compile(text, "locustfile.py", "exec")
    except (SyntaxError, ValueError) as error:
        fail_if(True, f"the text is no Python: {error}", "no-python")
    fail_if("scalelab" in text, "the text names scalelab", "not-your-own")
    times = (np.sort(rng.uniform(0, 0.9, n)) + 0.1).round(4).tolist()
    plan = {"arrivals_s": times, "path": f"/photo-{rng.integers(1000)}", "timeout_s": 2.0}
    silent, broken = int(rng.integers(2, 5)), sorted(rng.choice(np.arange(50, 60), 3, replace=False).tolist())
    told = {"hold": [8, 42, 1.5], "silent": [silent], "broken": broken}
    seen = answers.apart("run_text", text=text, plan=plan, **told)
    came, log, waiting, trouble = len(seen["arrived"]), seen["log"], seen["most_waiting"], seen["trouble"]
    told = f"{came} of {n} requests came to the server; {trouble}"
    fail_first(told, nothing_sent=came == 0, sends_too_many=came > n)
    story = f"the server held its answers back, and {waiting} requests came meanwhile"
    fail_first(story, waits_for_answers=waiting <= 3, ten_connections=waiting <= 12)
    fail_first(told, log_not_written=log is None and came == n, not_all_sent=came < n)
    span = seen["arrived"][-1] - seen["arrived"][0]
    fail_if(span < 0.4 * (times[-1] - times[0]), f"all requests came within {span:.3f} s", "all-at-once")
    check_rows(log, np.array(times), max(seen["spans"]), unanswered=1 + len(broken))


def check_rows(log: list[list[float | None]], times: np.ndarray, longest: float, *, unanswered: int) -> None:
    """Check the log of a run: each request has a row, and it says what the server knows."""
    n, told = len(times), f"{len(log)} rows for {len(times)} requests"
    fail_first(told, rows_missing=n - len(log) in (1, unanswered), not_a_row_each=len(log) != n)
    fail_if(any(None in row[:2] for row in log), f"a row without its times: {log[0]}", "no-times-in-log")
    rows = np.array([[np.inf if value is None else value for value in row] for row in log], dtype=float)
    intended, sent, finished = rows[rows[:, 0].argsort()].T
    off = float(np.abs(intended - times).max())
    is_sent = off > 1e-6 and np.allclose(intended, sent, atol=1e-7)
    told = f"the first column is up to {off:.3g} s off the plan"
    fail_first(told, clock_not_start=off > 1e3, due_when_sent=is_sent, other_schedule=off > 1e-6)
    fail_if((sent < intended - 0.05).any(), "requests were sent before their time", "sent-too-early")
    answered, spans = int(np.isfinite(finished).sum()), (finished - sent)[np.isfinite(finished)]
    told = f"{answered} of {n} requests are logged as answered; the server gave {n - unanswered} a 200"
    fail_first(told, nobody_fails=answered == n, errors_are_answers=answered > n - unanswered)
    told = f"the longest answer took {longest:.2f} s, your log says {spans.max(initial=0):.2f} s"
    fail_if(answered and spans.max() < 0.9 * longest, told, "finished-too-early")
    fail_if(answered < n - unanswered - 2, f"{answered} of {n} are logged as answered", "answers-lost")


@check("knee", points=4, hints=HINTS["knee"])
def knee_by_halves(answers: Answers) -> None:
    """Search the knee with few windows, a retest, and a verdict that knows a tired generator."""
    rng = answers.rng
    for n in (1, 2, 7, int(rng.integers(11, 15)), 31):
        rates = np.cumsum(rng.integers(20, 90, n)).tolist()
        for at in sorted({0, n, *rng.integers(1, n + 1, 3).tolist()}):  # how many of the rates pass
            check_search(answers, rates, at, "plain")
    rates, at = np.cumsum(rng.integers(20, 90, 15)).tolist(), int(rng.integers(5, 11))
    for kind in ("border", "moment", "good, busy", "slo", "busy", "busy, 2nd"):
        check_search(answers, rates, at, kind)


def check_search(answers: Answers, rates: list[int], at: int, kind: str) -> None:
    """Let find_knee search among windows of which the first `at` rates pass."""
    rng, asked, slo, n = answers.rng, [], 0.5 if kind == "slo" else 0.2, len(rates)

    def measure(rate: float) -> dict[str, Any]:
        asked.append(rate)
        is_first = asked.count(rate) == 1
        is_good = rate in rates[:at] and not (kind == "moment" and is_first)
        late = slo if kind == "border" else float(rng.choice([1.1 * slo, 3 * slo, np.inf]))
        tired = {"busy": True, "good, busy": is_good, "busy, 2nd": not is_first}.get(kind, False)
        return {"p95_s": float(rng.uniform(0.4, 0.9)) * slo if is_good else late, "generator_busy": tired}

    given = (measure, rates, slo) if kind == "slo" else (measure, rates)
    rate, verdict = parts(answers["find_knee"](*given), 2, "what find_knee returned", "not-two-values")
    told = f"{at} of {n} rates hold ({kind}); you measured {asked[:12]} and said {rate}, {verdict!r}"
    is_unknown, is_known = str(verdict) not in ("PASS", "FAIL", "INCONCLUSIVE"), set(asked) <= set(rates)
    fail_first(told, unknown_verdict=is_unknown, nothing_measured=not asked, rate_not_listed=not is_known)
    bad = [each for each in asked if each not in rates[:at]]
    best = max(set(asked) - set(bad), default=0)
    if kind.startswith("busy"):
        is_blamed, limit = verdict != "INCONCLUSIVE", 1 if kind == "busy" else 2
        fail_first(told, goes_on_when_busy=len(bad) > limit, blames_the_service=is_blamed)
        fail_if(rate != best, f"{told}; {best} was the highest that passed", "best-so-far")
        return
    fail_first(told, measured_again=max(map(asked.count, asked)) > 2)
    fail_first(told, too_many_windows=len(asked) > 2 * math.ceil(math.log2(n + 1)))
    wanted = rates[at - 1] if at else 0
    is_off, once = rate != wanted, any(bad.count(each) == 1 for each in bad)
    codes = {
        "moment": "both-must-pass",
        "good, busy": "good-is-good",
        "border": "border-passes",
        "slo": "slo-ignored",
    }
    if kind in codes:
        fail_if(is_off, told, codes[kind])
    is_above = 0 < at < n and rate == rates[min(at, n - 1)]
    fail_first(told, failed_at_once=once, first_that_failed=is_above, none_is_zero=not at and is_off)
    right = "FAIL" if not at else "PASS" if at < n else "INCONCLUSIVE"
    fail_if(is_off, f"{told}, wanted {wanted}", "wrong-knee")
    code = {"FAIL": "nothing-held", "INCONCLUSIVE": "end-of-list"}.get(right, "wrong-verdict")
    fail_if(verdict != right, f"{told}, wanted {right!r}", code)


@check("drill", points=4, limit_s=60, hints=HINTS["drill"])
def honest_load_test(answers: Answers) -> None:
    """Mend the load test that nothing fails, and write the test that would have caught each fault."""
    rng, ranks = answers.rng, nearest_ranks
    for timeout in (20.0, float(rng.uniform(0.3, 0.5))):
        times = np.sort(rng.uniform(0, 10, 700))
        stalls = [[float(rng.uniform(3, 5)), float(rng.uniform(6, 6.5))], [9.0, 9.2]]
        given = {"arrivals": times.tolist(), "service_s": 0.004, "stalls": stalls, "timeout_s": timeout}
        value = parts(
            answers.inside("try_load_test", **given), 3, "what load_test returned", "not-three-values"
        )
        server = PaperServer(0.004, stalls)
        waited = waited_in(queue(times, server), slice(None))
        found = np.array([float(each) for each in value])
        polite, late = waited + times - server.begun_s, np.where(waited <= timeout, waited, np.inf)
        wanted = ranks(late)
        slips = {
            "still-polite": ranks(np.where(polite <= timeout, polite, np.inf)),
            "still-drops": ranks(waited[waited <= timeout]),
            "timeout-not-used": ranks(waited),
            "still-caps": ranks(np.minimum(waited, timeout)),
            "still-averages": np.mean([ranks(each) for each in np.array_split(late, 10)], axis=0),
        }
        told = f"timeout {timeout:.2f} s: p50, p95, p99 are {found.round(4)}, wanted {wanted.round(4)}"
        tell(found, wanted, slips, told)
        fail_if(not np.allclose(found, wanted, rtol=1e-6), told, "still-wrong")
    names = rng.permutation(["right", "plain", "polite", "drops", "caps", "windows"]).tolist()
    said = answers.inside("try_tests", names=names)
    is_odd = any(not isinstance(each, bool | np.bool_) for each in said)
    fail_if(is_odd, f"tells_the_truth returned {said[0]!r}", "no-yes-or-no")
    says = dict(zip(names, said, strict=True))
    honest = says.pop("right") and says.pop("plain")
    fail_if(not honest, "tells_the_truth refuses a load test whose numbers are true", "test-blames")
    fail_if(all(says.values()), "tells_the_truth accepts all broken ones", "test-finds-nothing")
    for name in ("polite", "drops", "caps", "windows"):
        fail_if(
            says[name], "tells_the_truth accepts a load test with one of the faults", f"test-misses-{name}"
        )
