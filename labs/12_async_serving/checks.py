"""Checks of lab 12: scripts played on a desk, a queue, a batch and a broker; the clock is a number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scalelab.grading import Answers, check, expect_type
from scalelab.grading.documents import Rules, instructions, settings
from scalelab.grading.meanings import Meanings

MEANINGS = Meanings(__file__)
fail_if, parts = MEANINGS.fail_if, MEANINGS.parts
RULES = Rules(__file__, MEANINGS)


@check(
    "desk", points=5,
    hints=(
        "What must a task remember, so that look_up can tell waiting, answered and expired apart?",
        "When it was answered, and None before. A key names a task id; ask look_up whether that one lives.",
        "submit: the key's id, if look_up does not say 404, and its photo compared; else a fresh id. "
        "store: only where no answer time stands. look_up: 404 if now_s is past the answer time plus ttl_s.",
    ),
)  # fmt: skip
def tickets_and_answers(answers: Answers) -> None:
    """Give tickets that nobody can guess, keep the first answer for a while, honour idempotency keys."""
    rng = answers.rng
    one, two = rng.bytes(24), rng.bytes(24)
    ttl, at = float(rng.integers(20, 60)), float(rng.uniform(1, 900))
    word, key = f"PIN-{rng.integers(10**6)}", f"phone-{rng.integers(10**6)}"
    check_ids(answers, one, two, at)
    check_life(answers, one, word, ttl, at)
    played = play_desk(
        answers, ttl,
        ("submit", "a", at, [one, key]), ("submit", "b", at + 1, [one, key]),
        ("submit", "c", at + 2, [two, key]),
        ("store", "a", at + 5, [word]), ("submit", "e", at + 5 + 0.9 * ttl, [one, key]),
        ("submit", "f", at + 5 + 1.2 * ttl, [one, key]), ("look_up", "f", at + 5 + 1.2 * ttl, []),
    )  # fmt: skip
    (_, first), (again, same), (status, found), _, (_, late), (_, new), (stands, _) = (
        parts(said, 2, "what submit or look_up returned", "not-a-pair") if place != 3 else (0, 0)
        for place, said in enumerate(played)
    )
    fail_if(same != first, "the same photo with the same key got a second task", "key-ignored")
    told = f"another photo with a used key got {(status, found)}, wanted (422, None)"
    fail_if(status == 202, told, "key-hides-photo")
    fail_if((again, status, found) != (202, 422, None), f"{told}; the same photo {again}", "wrong-status")
    fail_if(late != first, "the key was forgotten while its answer could still be fetched", "key-too-short")
    told = f"a photo sent again after its answer expired is {stands}{' of old' if new == first else ''}"
    fail_if(new == first or stands != 202, told, "key-outlives-task")


def play_desk(answers: Answers, ttl_s: float, *script: tuple[str, str, float, list[Any]]) -> list[Any]:
    return answers.inside("play_desk", script=list(script), ttl_s=ttl_s)


def check_ids(answers: Answers, one: bytes, two: bytes, at: float) -> None:
    """Check the ids of forty photos on two desks, some of them the same photo."""
    drawn = []
    for _ in range(2):
        photos = [one, one, *[two] * 18]
        for said in play_desk(answers, 9.0, *[("submit", "x", at, [photo]) for photo in photos]):
            status, task_id = parts(said, 2, "what submit returned", "not-a-pair")
            fail_if(task_id == 202, f"submit returned {said}", "pair-swapped")
            fail_if(status != 202, f"a new photo got {status}", "wrong-status")
            expect_type(task_id, str, what="the task id", code="id-no-text", meaning=MEANINGS["id-no-text"])
            drawn.append(task_id)
    fail_if(drawn[0] == drawn[1], "two photos without a key got one id", "same-photo-merged")
    fail_if(len(drawn[0]) < 16, f"an id has {len(drawn[0])} characters: {drawn[0]!r}", "short-id")
    shortest = min(map(len, drawn))
    moving = sum(len({task_id[place] for task_id in drawn}) > 4 for place in range(shortest))
    told = f"of {shortest} characters {moving} differ from id to id: {drawn[0]!r}, {drawn[2]!r}"
    fail_if(set(drawn[:20]) & set(drawn[20:]), "two desks gave the same ids", "guessable-id")
    fail_if(moving < 14 or len(set(drawn)) < 40, told, "guessable-id")


def check_life(answers: Answers, photo: bytes, word: str, ttl: float, at: float) -> None:
    """Check a task from its submission until its answer is forgotten."""
    stored = at + 3 * ttl
    inside, outside = stored + 0.9 * ttl, stored + 1.1 * ttl
    _, _, waiting, unknown, nobodys, first, second, answered, gone, _, zero, again = play_desk(
        answers, ttl, ("submit", "a", at, [photo]), ("submit", "z", at, [photo]),
        ("look_up", "a", at + 2 * ttl, []), ("look_up", "nobody", at, []), ("store", "nobody", at, [word]),
        ("store", "a", stored, [word]), ("store", "a", stored + 1, ["later"]),
        ("look_up", "a", inside, []), ("look_up", "a", outside, []),
        ("store", "z", stored, [0]), ("look_up", "z", inside, []), ("store", "z", inside, [1]),
    )  # fmt: skip
    raised = [name for name, said in (("look_up", unknown), ("store", nobodys)) if isinstance(said, dict)]
    fail_if(raised, f"{' and '.join(raised)} raised KeyError for an unknown id", "unknown-crashes")
    pairs = {"waiting": waiting, "unknown": unknown, "answered": answered, "gone": gone, "zero": zero}
    status = {name: parts(pair, 2, "what look_up returned", "not-a-pair") for name, pair in pairs.items()}
    told = f"answers are kept for {ttl:g} s, and a task that waits for {2 * ttl:g} s is {status['waiting']}"
    fail_if(status["waiting"][0] == 404, told, "waiting-expires")
    fail_if(tuple(status["waiting"]) != (202, None), f"a waiting task is {waiting}", "wrong-status")
    fail_if(tuple(status["unknown"]) != (404, None), f"an unknown id is {unknown}", "unknown-found")
    fail_if(bool(nobodys), "store kept an answer for an id that was never given", "unknown-found")
    told = f"0.9 ttl_s after its answer a task is {status['answered']}"
    fail_if(status["answered"][0] == 404, told, "ttl-from-submit")
    fail_if(status["answered"][1] == "later", told, "last-answer-wins")
    fail_if(tuple(status["answered"]) != (200, word), f"{told}, wanted (200, {word!r})", "answer-lost")
    told = f"store said {first!r} to the first answer and {second!r} to the second"
    fail_if(not first or bool(second), told, "store-says-nothing")
    fail_if(status["gone"][0] != 404, f"1.1 ttl_s after its answer a task is {gone}", "answers-stay")
    told = f"the answer 0 was stored, and look_up says {status['zero']}, a second store {again!r}"
    fail_if(tuple(status["zero"]) != (200, 0) or bool(again), told, "empty-answer")


@check(
    "door", points=3,
    hints=(
        "How many answers were given in the last two seconds? How many until half of the places are free?",
        "(depth - limit / 2) tasks, at rate_per_s a second. Round up: who comes too early comes twice.",
        "math.ceil, then min(60, max(1, ...)); and 60 where the rate is 0, before you divide.",
    ),
)  # fmt: skip
def door_with_a_number(answers: Answers) -> None:
    """Measure how fast the queue drains, and say how long to stay away when it is full."""
    rng, now = answers.rng, float(answers.rng.uniform(50, 90))
    recent, window = int(rng.integers(11, 30)), 2.0
    ages = np.concatenate([rng.uniform(2.2, 40, 50), rng.uniform(0.05, 1.9, recent)])
    times = sorted(float(now - age) for age in ages)
    found = answers["drain_rate"](times, now, window)
    slips = {"ever-counted": len(times) / window, "count-not-rate": float(recent)}
    slips |= {"rate-of-all": len(times) / now, "gaps-counted": (recent - 1) / window}
    told = f"{recent} answers in {window:g} s; drain_rate said {found}"
    MEANINGS.tell(found, recent / window, slips, told)
    MEANINGS.close(found, recent / window, "answers a second", "wrong-rate")
    later = answers["drain_rate"]([*times, now + 1.0], now, window)
    fail_if(later != found, "an answer that is yet to come was counted", "future-counted")
    wide = answers["drain_rate"](times, now, 50.0)
    fail_if(abs(wide - len(times) / 50) > 1e-9, f"over 50 s the rate is {wide}", "window-ignored")
    fail_if(answers["drain_rate"]([], now, window) != 0, "no answers, and a rate above 0", "wrong-rate")
    check_admission(answers)


def check_admission(answers: Answers) -> None:
    limit = 2 * int(answers.rng.integers(100, 300))
    full = limit + 1
    rate = limit / float(answers.rng.uniform(8, 16)) / 2  # half of the places drain in 8 to 16 seconds
    for depth in (0, limit - 1):
        status, wait = parts(answers["admit"](depth, limit, rate), 2, "what admit returned", "not-a-pair")
        told = f"with {depth} of {limit} places taken it is {status}"
        fail_if(status != 202, told, "too-early-no")
        fail_if(wait is not None, f"{told}, and to wait {wait}", "waits-for-nothing")
    status, _ = answers["admit"](limit, limit, rate)
    fail_if(status == 202, f"with {limit} of {limit} places taken one more came in", "one-too-many")
    status, wait = answers["admit"](full, limit, rate)
    fail_if(status != 429, f"a full queue says {status}", "wrong-status")
    expect_type(wait, (int, float, np.number), what="the wait")
    exact = (full - limit / 2) / rate
    told = f"depth {full}, limit {limit}, {rate:.3g} a second: wait {wait}, wanted {math.ceil(exact)}"
    fail_if(not float(wait).is_integer(), told, "not-whole")
    fail_if(wait == math.ceil(full / rate) != math.ceil(exact), told, "whole-queue")
    fail_if(wait == math.floor(exact), told, "comes-too-early")
    fail_if(wait != math.ceil(exact), told, "wrong-wait")
    for speed, wanted in ((1e6, 1), (1e-3, 60)):
        _, wait = answers["admit"](full, limit, speed)
        fail_if(wait != wanted, f"at {speed:g} a second it says {wait} s, wanted {wanted}", "without-bounds")
    try:
        _, wait = answers["admit"](full, limit, 0.0)
    except ZeroDivisionError:
        wait = "a ZeroDivisionError"
    fail_if(wait != 60, f"nothing drains, and admit gave {wait}", "nothing-drains")


@check(
    "hand", points=5,
    hints=(
        "Which worker has a task in hand, and when was that worker last heard of?",
        "held: task id -> (worker, attempt). take looks there first, for a worker that is silent too long.",
        "In take: beat; for each held task, if now_s - alive[worker] > lease_s: dead letter if its attempts "
        "are used up, else hold it for this worker with attempt + 1, return it alone. Then waiting[:count].",
    ),
)  # fmt: skip
def tasks_in_hand(answers: Answers) -> None:
    """Keep tasks in the books until they are acknowledged; take them from dead workers, not for ever."""
    rng = answers.rng
    names = [f"t{number}" for number in rng.choice(10**6, 8, replace=False)]
    lease, at = float(rng.uniform(1, 5)), float(rng.uniform(1, 900))
    for look in (check_order, check_alive, check_dead_worker, check_acknowledged, check_killer):
        look(answers, names, lease, at)


def play(answers: Answers, lease: float, *script: Any, attempts: int = 3) -> dict[str, Any]:
    """Play a script; return what was taken as lists of (id, attempt)."""
    seen = answers.inside("play_queue", script=list(script), lease_s=lease, max_attempts=attempts)
    for place, taken in enumerate(seen["taken"]):
        expect_type(taken, (list, tuple), what="what take returned")
        pairs = [parts(pair, 2, "each that take gives", "no-attempt") for pair in taken]
        seen["taken"][place] = [(pair[0], pair[1]) for pair in pairs]
    return seen


def puts(names: list[str], at: float) -> list[tuple[str, str, float, int]]:
    return [("put", name, at, 0) for name in names]


def check_order(answers: Answers, names: list[str], lease: float, at: float) -> None:
    takes = [("take", worker, at, count) for worker, count in (("u", 2), ("v", 3), ("u", 9), ("v", 9))]
    taken = play(answers, lease, *puts(names[:6], at), *takes)["taken"]
    told = f"six tasks waited; takes of 2, 3, 9 and 9 gave {[len(part) for part in taken]}"
    flat = [name for part in taken for name, _ in part]
    fail_if(any(len(part) > most for part, most in zip(taken, (2, 3, 9, 9), strict=True)), told, "too-many")
    fail_if(len(flat) != len(set(flat)), f"{told}; some were given twice", "given-twice")
    fail_if(sorted(flat) != sorted(names[:6]), told, "not-given")
    fail_if(flat != names[:6], "the tasks did not come in the order in which they were put", "not-in-order")
    fail_if(
        {attempt for part in taken for _, attempt in part} != {1}, f"take gave {taken[0]}", "first-is-one"
    )


def check_alive(answers: Answers, names: list[str], lease: float, at: float) -> None:
    beats = [("beat", "slow", at + 0.6 * lease * step, 0) for step in range(1, 6)]
    begin, end = [("put", names[0], at, 0), ("take", "slow", at, 1)], ("take", "other", at + 3.1 * lease, 4)
    slow = play(answers, lease, *begin, *beats, end)["taken"][-1]
    fail_if(slow, "a worker has a task for 3.1 leases, and beats; another got it", "slow-is-not-dead")
    busy = play(
        answers, lease, *puts(names[:2], at), ("take", "busy", at, 1), ("take", "busy", at + 0.8 * lease, 1),
        ("take", "other", at + 1.2 * lease, 4),
    )["taken"][-1]  # fmt: skip
    fail_if(busy, "a worker took a task 0.4 leases ago, and counts as dead", "taking-is-no-sign")


def check_dead_worker(answers: Answers, names: list[str], lease: float, at: float) -> None:
    one, two, three, four, five = names[:5]
    early, *after = play(
        answers, lease, *puts([one, two, three, four], at), ("take", "gone", at, 2), ("take", "lives", at, 1),
        ("take", "lives", at + 0.9 * lease, 1), ("put", five, at + lease, 0),
        *[("take", "lives", at + lease * (1.5 + step / 10), 5) for step in range(3)],
    )["taken"][2:]  # fmt: skip
    fail_if(early != [(four, 1)], f"0.9 leases after a worker's last sign, take gave {early}", "too-early")
    flat = [name for part in after for name, _ in part]
    told = f"a worker with two tasks is silent for 1.5 leases, one more waits; takes gave {after}"
    fail_if(one not in flat or two not in flat, told, "lost-with-worker")
    fail_if(any(len(part) > 1 for part in after), told, "orphans-together")
    fail_if(flat[0] == five or flat[1] == five, told, "orphans-last")
    fail_if(flat != [one, two, five], told, "not-in-order")
    fail_if([part[0][1] for part in after] != [2, 2, 1], told, "attempts-forgotten")


def check_acknowledged(answers: Answers, names: list[str], lease: float, at: float) -> None:
    one, two = names[:2]
    seen = play(
        answers, lease, *puts([one, two], at), ("take", "u", at, 2),
        ("acknowledge", one, at + 0.5 * lease, 0), ("take", "v", at + 2 * lease, 2),
        *[("acknowledge", two, at + late * lease, 0) for late in (2.5, 2.6)],
        ("take", "w", at + 5 * lease, 2), ("take", "x", at + 9 * lease, 2),
    )  # fmt: skip
    _, again, late, later = seen["taken"]
    told = f"of two tasks one was acknowledged, then their worker died; take gave {again}"
    fail_if(one in [name for name, _ in again + late + later], told, "acknowledged-runs-again")
    fail_if(again != [(two, 2)], told, "lost-with-worker")
    told = "a worker thought dead acknowledged its task, which another had by then; it was given out again"
    fail_if(late or later, told, "late-answer-runs-again")
    fail_if(seen["raised"], f"a second acknowledgement raised {seen['raised']}", "second-acknowledge")


def check_killer(answers: Answers, names: list[str], lease: float, at: float) -> None:
    for attempts in (3, 2):
        killer, good = names[:2]
        counts = enumerate([1] * attempts + [5, 5])
        workers = [("take", f"w{step}", at + 2 * step * lease, count) for step, count in counts]
        seen = play(answers, lease, *puts([killer, good], at), *workers, attempts=attempts)
        rounds, last, end = seen["taken"][:attempts], seen["taken"][attempts], seen["taken"][-1]
        told = f"max_attempts is {attempts}, each of its workers dies; take gave {seen['taken']}"
        wanted = [[(killer, attempt + 1)] for attempt in range(attempts)]
        fail_if(killer in [name for name, _ in last + end], told, "no-dead-letters")
        fail_if(rounds != wanted, told, "dies-early")
        fail_if(last == [], told, "empty-handed")
        fail_if((last, end) != ([(good, 1)], [(good, 2)]), told, "not-given")
        fail_if(list(seen["dead"]) != [killer], f"the dead letters are {seen['dead']}", "dead-not-kept")


@check(
    "batch", points=4,
    hints=(
        "With one bad photo among 32, how many runs do you need to find it, if each run says only yes or no?",
        "Run all; if that raises and there is more than one, do the same with each half; else its exception.",
        "answer_all(predict, photos[:half]) + answer_all(predict, photos[half:]), with [] for no photos. And "
        "wait_more_s: 0.0 in four cases, else max(0.0, window_s - waited_s).",
    ),
)  # fmt: skip
def batches_that_fail_apart(answers: Answers) -> None:
    """Wait for a fuller batch only under load; answer a batch so that a bad photo fails alone."""
    rng = answers.rng
    most, window = int(rng.integers(8, 30)), float(rng.uniform(0.004, 0.02))
    wait = answers["wait_more_s"]
    cases = (
        ("idle", "waits-when-idle", 1, 1, 0.0, 0.0), ("idle", "waits-when-idle", 1, 0, 0.0, 0.0),
        ("a full batch", "full-waits", most, most, 0.0, 0.0),
        ("nothing in hand", "waits-for-nobody", 0, 9, 0.0, 0.0),
        ("window over", "waits-below-zero", 2, 9, 1.5 * window, 0.0),
        ("under load", "window-restarts", 2, 9, 0.25 * window, 0.75 * window),
    )  # fmt: skip
    for what, code, taken, last, waited, wanted in cases:
        found = wait(taken, last, waited, most, window)
        expect_type(found, (int, float, np.number), what="what wait_more_s returned")
        told = f"{what} ({taken} in hand, {last} in the batch before, {waited:.4f} s waited): {found:.4g} s"
        fail_if(found == 0 and wanted > 0, told, "never-waits")
        fail_if(abs(found - wanted) > 1e-9, f"{told}, wanted {wanted:.4g}", code)
    for bad in (0, 1, 2):
        check_batch(answers, [rng.bytes(6) for _ in range(32)], rng.choice(32, bad, replace=False).tolist())


def check_batch(answers: Answers, photos: list[bytes], bad: list[int]) -> None:
    seen = answers.inside("try_batch", photos=photos, bad=[photos[place] for place in bad])
    told = f"{len(bad)} bad of {len(photos)} photos"
    fail_if(seen["escaped"], f"{told}: the model's exception came out of answer_all", "exception-escapes")
    found = parts(seen["found"], len(photos), f"{told}: what answer_all returned", "answers-missing")
    good = [place for place in range(len(photos)) if place not in bad]
    failed = [place for place in good if "error" in found[place]]
    fail_if(failed, f"{told}: {len(failed)} good ones failed with them", "neighbours-fail")
    wanted = {place: photos[place].hex() for place in good}
    got = {place: found[place].get("answer") for place in good}
    told_order = f"{told}: photo {good[0]} has {got[good[0]]!r}, wanted {wanted[good[0]]!r}"
    is_mixed = sorted(map(str, got.values())) == sorted(wanted.values())
    fail_if(got != wanted and is_mixed, told_order, "order-lost")
    fail_if(got != wanted, told_order, "answers-missing")
    for place in bad:
        fail_if("error" not in found[place], f"{told}: a bad one has {found[place]}", "no-exception-kept")
        is_own = found[place]["error"] == photos[place].hex()
        fail_if(not is_own, f"{told}: photo {place} has the exception of another", "anothers-exception")
    most = 1 + 2 * len(bad) * math.ceil(math.log2(len(photos)))
    told = f"{told} took {len(seen['runs'])} runs, {most} are enough"
    fail_if(not bad and len(seen["runs"]) >= len(photos), told, "one-by-one")
    fail_if(len(seen["runs"]) > most, told, "too-many-runs")


@check(
    "image", points=4,
    hints=(
        "Go through the list above the task, line by line; and through compose's docstring.",
        "requirements first, pip install with -r, then the code; USER, HEALTHCHECK, CMD as a JSON list. In "
        "compose only the gateway has ports.",
        "depends_on: {'broker': {'condition': 'service_healthy'}}; the worker's stop_grace_period '30s', "
        "deploy.replicas 2, deploy.resources.limits.memory '512m'; the broker's volumes ['tasks:/data'].",
    ),
)  # fmt: skip
def boxes_that_stop_in_order(answers: Answers) -> None:
    """Write the worker's Dockerfile, and the compose file of three services."""
    text = answers["worker_image"]()
    expect_type(text, str, what="what worker_image returned")
    RULES.check("dockerfile", instructions(text))
    document = answers["compose"]()
    expect_type(document, dict, what="what compose returned")
    RULES.check("compose", settings(document))


@check(
    "drill", points=4, limit_s=30,
    hints=(
        "Which events lie behind the kill, and what does the next worker get from take?",
        "Store first, acknowledge afterwards. Between the two a kill costs a computation, and no answer.",
        "The test: for each kill_at a new SmallBroker; call step some times, catch Killed; then all answers "
        "must be right and all tasks acknowledged.",
    ),
)  # fmt: skip
def nothing_lost(answers: Answers) -> None:
    """Mend the worker's step, and write the test that kills it everywhere."""
    rng = answers.rng
    photos = {f"t{number}": rng.bytes(5) for number in rng.choice(10**6, 7, replace=False)}
    wanted = {name: photo.hex() for name, photo in photos.items()}
    for kill_at in [None, *range(16)]:
        seen = answers.inside("try_step", photos=photos, kill_at=kill_at)
        where = "nobody was killed" if kill_at is None else f"killed at event {kill_at}"
        missing = sorted(set(wanted) - set(seen["answers"]))
        fail_if(seen["unknown"], f"{where}: an id came that take never gave", "unknown-id")
        told = f"{where}: {len(missing)} of {len(photos)} tasks have no answer"
        fail_if(missing and set(missing) <= set(seen["acknowledged"]), told, "acknowledged-too-early")
        fail_if(missing, told, "not-answered")
        fail_if(seen["answers"] != wanted, f"{where}: answers stand at the wrong tasks", "answers-mixed")
        left = set(photos) - set(seen["acknowledged"])
        fail_if(left, f"{where}: {len(left)} tasks were never struck off", "never-acknowledged")
        fail_if(seen["done_again"], f"{where}: a task that was done ran again", "done-again")
        runs = [size for size in seen["batches"] if size]
        fail_if(
            kill_at is None and len(runs) > 2, f"7 photos, up to 4 a batch: {len(runs)} runs", "no-batches"
        )
    names = rng.permutation(["each", "all then all", "first", "just before", "never", "last"]).tolist()
    said = answers.inside("try_tests", names=names)
    fail_if(not all(isinstance(one, bool | np.bool_) for one in said), f"it returned {said}", "no-yes-or-no")
    accepts = dict(zip(names, said, strict=True))
    refused = not (accepts["each"] and accepts["all then all"])
    fail_if(refused, "survives_any_kill refuses a step that loses nothing", "test-blames")
    for name, does, code in (
        ("first", "acknowledges before the model runs", "test-kills-nobody"),
        ("just before", "acknowledges just before it stores", "test-kills-once"),
        ("last", "never stores a fourth answer", "test-small-batches"),
        ("never", "never acknowledges", "test-works-for-ever"),
    ):
        fail_if(accepts[name], f"survives_any_kill accepts a step that {does}", code)
