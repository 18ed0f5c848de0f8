"""Checks of lab 01 that students do not see: the same laws on other inputs, for the grader."""

from __future__ import annotations

import hashlib

import numpy as np

from scalelab.grading import Answers, check, expect, expect_close

HINTS = (
    "Run the lab's own check first.",
    "Its feedback names the law.",
    "The law holds for all inputs.",
)


@check("settings-corners", points=1, after="settings", hints=HINTS)
def settings_do_not_leak(answers: Answers) -> None:
    """Settings of one run never reach another."""
    run_settings, run_id = answers["run_settings"], answers["run_id"]
    defaults = dict(run_settings({}))
    names = list(defaults)
    for name in answers.rng.permutation(names):
        changed = run_settings({str(name): 5})
        expect(
            changed == {**defaults, name: 5} and run_settings({}) == defaults,
            f"run_settings({{{name!r}: 5}}) gave {changed}, and then {run_settings({})}",
            code="settings-leak",
        )
    ids = {run_id({**defaults, "seed": seed}) for seed in range(50)}
    expect(len(ids) == 50, f"50 seeds gave {len(ids)} ids", code="ids-collide")


@check("split-corners", points=1, after="split", hints=HINTS)
def split_of_single_photos(answers: Answers) -> None:
    """Every parcel is in the test with some seed, also where it has one photo only."""
    split = answers["split_parcels"]
    parcel = answers.rng.permutation(np.arange(500, 512))
    tested: set[int] = set()
    for seed in range(60):
        train, test = (np.asarray(rows) for rows in split(parcel, 0.25, seed))
        expect(
            len(test) == 3 and len(train) == 9,
            f"{len(test)} of 12 parcels in the test",
            code="wrong-share",
        )
        tested |= set(parcel[test].tolist())
    expect(
        len(tested) == 12,
        f"60 seeds tested {len(tested)} of 12 parcels",
        code="parcels-never-tested",
    )


@check("score-corners", points=1, after="score", hints=HINTS)
def score_at_the_ends(answers: Answers) -> None:
    """All right is 1, all wrong is 0, one wrong digit a code is 5/6 and 0."""
    digits = answers.rng.integers(0, 10, (8, 6))
    one_off = digits.copy()
    one_off[np.arange(8), answers.rng.integers(0, 6, 8)] += 1
    for read, wanted in (
        (digits, (1.0, 1.0)),
        (digits + 1, (0.0, 0.0)),
        (one_off, (5 / 6, 0.0)),
    ):
        expect_close(
            answers["pin_accuracy"](read, digits),
            wanted,
            what="the two shares",
            code="wrong-ends",
            atol=1e-9,
        )


@check("run-corners", points=1, after="run", hints=HINTS, limit_s=30.0)
def run_survives_company(answers: Answers) -> None:
    """A run between two others gives what it gives alone."""
    run = answers["run_experiment"]
    base = {"test_share": 0.25, "hidden": 9, "epochs": 1, "rate": 0.1, "batch": 32}
    seeds = answers.rng.integers(1, 10**6, 3).tolist()

    def digest(seed: int) -> str:
        parts = run({**base, "parcels": 40, "seed": seed})["weights"]
        return hashlib.sha256(
            b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        ).hexdigest()

    alone = [digest(seed) for seed in seeds]
    mixed = [digest(seed) for seed in reversed(seeds)][::-1]
    expect(alone == mixed, "runs in another order gave other weights", code="not-repeatable")
    expect(len(set(alone)) == 3, "three seeds did not give three results", code="seed-ignored")


@check("hottest-corners", points=1, after="hottest", hints=HINTS)
def hottest_of_two(answers: Answers) -> None:
    """A part of share s is worth at most 1 / (1 - s)."""
    share = float(answers.rng.uniform(0.55, 0.95))
    rows = [("cold", 10, 1 - share, 1.0), ("hot", 1, share, share)]
    name, speedup = answers["hottest_part"](rows)
    expect(name == "hot", f"named {name!r}, wanted 'hot'", code="wrong-part")
    expect_close(speedup, 1 / (1 - share), what="speed-up", code="wrong-speedup")


@check("drill-corners", points=1, after="drill", hints=HINTS)
def features_in_any_order(answers: Answers) -> None:
    """A photo's features are the same alone, in company, and in any order."""
    photos = answers.rng.integers(0, 200, (5, 28, 168)).astype(np.uint8)
    photos[2] //= 4
    features = answers["digit_features"]
    wanted = np.concatenate(
        [np.array(features(photo[None].copy())) for photo in photos]
    ).reshape(5, 6, 784)
    order = answers.rng.permutation(5)
    got = np.array(features(photos[order].copy())).reshape(5, 6, 784)
    expect_close(
        got,
        wanted[order],
        what="features in another order",
        code="depends-on-company",
        atol=1e-6,
    )
    expect_close(
        got.max(axis=(1, 2)),
        np.ones(5),
        what="brightest pixels",
        code="wrong-scale",
        rtol=1e-4,
    )
