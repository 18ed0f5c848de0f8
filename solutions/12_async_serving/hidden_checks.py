"""Hidden checks of lab 12: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

import math

import numpy as np

from scalelab.grading import Answers, check, expect

HINTS = (
    "Try the smallest inputs.",
    "And two of a kind.",
    "Nothing in hand; the same task twice; a moment that is exactly the limit.",
)


@check("desk-corners", points=1, after="desk", hints=HINTS)
def many_people_at_the_desk(answers: Answers) -> None:
    """Keep the photos and answers of many tasks apart, whatever the answers are."""
    rng = answers.rng
    names = [f"n{number}" for number in range(12)]
    photos = [rng.bytes(3) for _ in names]
    replies = [None, False, "", [], {}, 0.0, "PIN", 1, [1], {"a": 1}, True, "x"]
    at = float(rng.uniform(0, 99))
    script = [
        ("submit", name, at, [photo, f"k-{name}"])
        for name, photo in zip(names, photos, strict=True)
    ]
    script += [
        ("store", name, at + 1, [reply]) for name, reply in zip(names, replies, strict=True)
    ]
    script += [("look_up", name, at + 2, []) for name in reversed(names)]
    script += [
        ("submit", "again", at + 3, [photos[3], "k-n3"]),
        ("look_up", "again", at + 3, []),
    ]
    log = answers.inside("play_desk", script=script, ttl_s=5.0)
    stored, found = log[12:24], log[24:36]
    expect(all(stored), f"store said {stored} to first answers", code="first-refused")
    wanted = [(200, reply) for reply in reversed(replies)]
    is_right = [tuple(one) == want for one, want in zip(found, wanted, strict=True)]
    expect(
        all(is_right),
        f"{is_right.count(False)} answers are not those stored",
        code="answers-crossed",
    )
    expect(
        log[36][1] == log[3][1],
        "a key after its answer named another task",
        code="key-crossed",
    )


@check("door-corners", points=1, after="door", hints=HINTS)
def doors_of_any_size(answers: Answers) -> None:
    """Ask one place, an odd limit and a window with an answer exactly at its end."""
    rate = answers["drain_rate"]([1.0, 2.0, 3.0], 3.0, 2.0)
    expect(
        rate == 1.0,
        f"answers at 1, 2, 3; at 3 over 2 s: {rate}, wanted 1",
        code="corner-window",
    )
    for depth, limit, speed in ((1, 1, 1.0), (7, 7, 0.5), (100, 7, 3.0), (2, 1, 0.11)):
        wanted = min(60, max(1, math.ceil((depth - limit / 2) / speed)))
        status, wait = answers["admit"](depth, limit, speed)
        told = f"depth {depth}, limit {limit}, {speed:g} a second: {(status, wait)}, wanted {(429, wanted)}"
        expect((status, wait) == (429, wanted), told, code="corner-wait")


@check("hand-corners", points=1, after="hand", hints=HINTS)
def a_long_day(answers: Answers) -> None:
    """Serve a day of workers that come and go: every task is delivered until it is acknowledged."""
    rng, lease, now = answers.rng, 1.0, 0.0
    script, names = [], [f"t{number}" for number in range(20)]
    script += [("put", name, 0.0, 0) for name in names]
    for round_ in range(90):
        now += float(rng.uniform(0.3, 0.8))
        script.append(
            ("take", f"w{round_ % 3 if round_ < 30 else 9}", now, int(rng.integers(1, 4)))
        )
    seen = answers.inside("play_queue", script=script, lease_s=lease, max_attempts=50)
    counts = [step[3] for step in script if step[0] == "take"]
    flat = [name for part in seen["taken"] for name, _ in part]
    expect(
        set(flat) == set(names),
        f"{len(set(flat))} of 20 tasks were given out",
        code="never-given",
    )
    is_small = all(
        len(part) <= count for part, count in zip(seen["taken"], counts, strict=True)
    )
    expect(is_small, "a worker got more than it asked for", code="corner-too-many")
    for name in names:
        attempts = [
            attempt for part in seen["taken"] for task, attempt in part if task == name
        ]
        told = f"the deliveries of one task are numbered {attempts}"
        expect(attempts == list(range(1, len(attempts) + 1)), told, code="corner-attempts")


@check("batch-corners", points=1, after="batch", hints=HINTS)
def batches_of_any_size(answers: Answers) -> None:
    """Answer no photo, one, a bad one, an odd number, and nothing but bad ones."""
    rng = answers.rng
    for size, bad in (
        (0, []),
        (1, []),
        (1, [0]),
        (7, [6]),
        (13, [0, 12]),
        (5, [0, 1, 2, 3, 4]),
    ):
        photos = [rng.bytes(6) for _ in range(size)]
        seen = answers.inside("try_batch", photos=photos, bad=[photos[place] for place in bad])
        told = f"{len(bad)} bad of {size} photos"
        expect(
            not seen["escaped"] and len(seen["found"]) == size,
            f"{told}: lost",
            code="corner-batch",
        )
        right = [
            seen["found"][place]
            == {"error" if place in bad else "answer": photos[place].hex()}
            for place in range(size)
        ]
        expect(all(right), f"{told}: {right.count(False)} wrong", code="corner-batch")
        expect(all(seen["runs"]), f"{told}: the model ran on nothing", code="runs-on-nothing")


@check("image-corners", points=1, after="image", hints=HINTS)
def the_same_each_time(answers: Answers) -> None:
    """Return the same files each time, with every service's image and no shared, changing part."""
    first, second = answers["compose"](), answers["compose"]()
    expect(first == second, "two calls of compose differ", code="compose-changes")
    text = answers["worker_image"]()
    expect(
        text == answers["worker_image"](),
        "two calls of worker_image differ",
        code="image-changes",
    )
    expect("pin560001" not in text, "the password is still in it", code="password-stays")


@check("drill-corners", points=1, after="drill", hints=HINTS)
def few_tasks_and_none(answers: Answers) -> None:
    """Serve one task, exactly a batch, and none, wherever the worker dies."""
    for count in (0, 1, 4, 9):
        photos = {f"p{number}": bytes(answers.rng.bytes(4)) for number in range(count)}
        wanted = {name: photo.hex() for name, photo in photos.items()}
        for kill_at in (None, 0, *np.arange(1, 2 * count + 3).tolist()):
            seen = answers.inside("try_step", photos=photos, kill_at=kill_at)
            told = f"{count} tasks, killed at event {kill_at}"
            expect(
                seen["answers"] == wanted, f"{told}: answers are missing", code="corner-lost"
            )
            is_done = set(seen["acknowledged"]) == set(photos) and not seen["unknown"]
            expect(is_done, f"{told}: not all are struck off", code="corner-left")
