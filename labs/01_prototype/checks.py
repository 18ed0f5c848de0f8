"""The checks of lab 01: settings, split, score, run, profile, and the reader that remembers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from scalelab.grading import Answers, check, expect, expect_close, expect_length, expect_raises, expect_type

DEFAULTS = {
    "parcels": 1000, "test_share": 0.3, "hidden": 128, "epochs": 8, "rate": 0.1, "batch": 64, "seed": 0,
}  # fmt: skip


@check(
    "settings", points=4,
    hints=(
        "After run_settings({'epochs': 3}), what does run_settings({}) return? And what should it?",
        "Make a new dict of DEFAULTS and the changes, after a look for names that DEFAULTS lacks. For the "
        "id: JSON text, .encode(), hashlib.sha256, .hexdigest(), and of that the start.",
        "Unknown names: set(changes) less set(DEFAULTS); if there are any, raise ValueError. A new dict of "
        "two others is {**one, **other}: where both have a name, the second wins. The start: text[:12].",
    ),
)  # fmt: skip
def settings_stay(answers: Answers) -> None:
    """Make a run's settings from defaults that nobody can change, and name the run by them."""
    run_settings = answers["run_settings"]
    epochs = int(answers.rng.integers(10, 99))
    changes = {"seed": epochs + 1, "epochs": epochs}
    typo = {"epoch": epochs}
    seen = answers.inside("try_settings", changes=changes, scribble={"hidden": 7}, typo=typo)
    expect(
        seen["before"] == DEFAULTS, f"DEFAULTS is {seen['before']}, the lab gave {DEFAULTS}",
        code="defaults-changed",
        meaning="something wrote into DEFAULTS: run the cell that defines it again, then find the writer",
    )  # fmt: skip
    expect(
        seen["made"] != DEFAULTS, f"run_settings({changes}) gave the bare defaults", code="defaults-win",
        meaning="where both dicts have a name, the second one wins: {**DEFAULTS, **changes}",
    )  # fmt: skip
    expect(
        seen["made"] == {**DEFAULTS, **changes},
        f"run_settings({changes}) gave {seen['made']}; wanted all of DEFAULTS, with these two changed",
        code="incomplete-settings", meaning="a run needs every setting, the unchanged ones too",
    )  # fmt: skip
    expect(
        seen["again"] == DEFAULTS == seen["after"],
        f"after a run with epochs={epochs}, run_settings({{}}) differs from the defaults",
        code="remembers-the-last-run",
        meaning="the changes were written into DEFAULTS, so that every later run inherits them",
    )  # fmt: skip
    expect(
        not seen["returns_error"], f"run_settings({typo}) returned the error", code="error-returned",
        meaning="an error that is returned is a value like any other: `raise` it in place of `return`",
    )  # fmt: skip
    code, meaning = "typo-accepted", f"it would train {DEFAULTS['epochs']} epochs and say nothing"
    if _refuses(run_settings, typo):
        code, meaning = "wrong-exception", "a caller who knows your docstring waits for a ValueError"
    expect_raises(ValueError, run_settings, typo, what=f"run_settings({typo})", code=code, meaning=meaning)
    _expect_identity(answers["run_id"], {**DEFAULTS, "seed": epochs})


def _refuses(call: Callable[..., Any], *inputs: Any) -> bool:
    try:
        call(*inputs)
    except Exception:
        return True
    return False


def _expect_identity(run_id: Callable[[dict[str, Any]], Any], settings: dict[str, Any]) -> None:
    name, other = run_id(dict(settings)), run_id(dict(reversed(settings.items())))
    expect_type(name, str, what="what run_id returned")
    expect(
        name == other, f"the same settings in another order of keys are called {other!r} instead of {name!r}",
        code="order-of-keys", meaning="the order in which settings were typed is no part of an experiment",
    )  # fmt: skip
    deaf = [key for key in settings if run_id({**settings, key: settings[key] + 1}) == name]
    expect(
        not deaf, f"the id stays {name!r} when {' or '.join(deaf)} changes", code="setting-left-out",
        meaning="two different experiments would overwrite each other",
    )  # fmt: skip
    written = json.dumps(settings, sort_keys=True)
    wanted = hashlib.sha256(written.encode()).hexdigest()[:12]
    expect(
        name == wanted,
        f"the id of {written} is {name!r}, wanted {wanted!r}: the first 12 hex digits of its SHA-256",
        code="not-the-recipe",
        meaning="hash() of Python is salted anew in every process; SHA-256 is the same everywhere",
    )  # fmt: skip


@check(
    "split", points=4,
    hints=(
        "Two photos of one parcel are near twins. What does a test on the second say about new parcels?",
        "Draw parcels, not photos: np.unique(parcel), in an order drawn by np.random.default_rng(seed).",
        "rng.permutation shuffles the distinct parcels; the first round(test_share * count) are the test. "
        "np.isin(parcel, taken) is True on their rows, and np.flatnonzero makes row numbers of that.",
    ),
)  # fmt: skip
def split_keeps_parcels_whole(answers: Answers) -> None:
    """Deal the parcels into training and test by a seed; no parcel on both sides."""
    split, rng = answers["split_parcels"], answers.rng
    parcels = int(rng.integers(40, 60))
    ids = rng.choice(90_000, parcels, replace=False) + 10_000
    parcel = rng.permutation(np.repeat(ids, rng.integers(1, 4, parcels)))
    seed, share = int(rng.integers(1, 1000)), float(rng.choice([0.2, 0.25, 0.3]))
    train, test = _rows(_without_dice(answers, "split_parcels", parcel, share, seed))
    dealt = np.sort(np.concatenate([train, test]))
    expect(
        not (len(dealt) and np.isin(dealt, ids).all()), f"{dealt[:1]} is a parcel, not a row number",
        code="parcel-numbers", meaning="np.flatnonzero(np.isin(parcel, taken)) gives their rows",
    )  # fmt: skip
    expect(
        np.array_equal(dealt, np.arange(len(parcel))),
        f"{len(parcel)} rows came in; training got {len(train)}, the test {len(test)}, "
        f"{len(np.unique(dealt))} different ones", code="rows-lost-or-doubled",
        meaning="every row belongs to exactly one side; drawing with replacement repeats some",
    )  # fmt: skip
    both = np.intersect1d(parcel[train], parcel[test])
    expect(
        len(both) == 0,
        f"{len(both)} of {parcels} parcels have photos on both sides, such as parcel {[*both, 0][0]}",
        code="parcel-on-both-sides",
        meaning="it looks as if photos were dealt one by one: the test then asks for what was learnt",
    )  # fmt: skip
    expect_length(
        np.unique(parcel[test]), round(share * parcels), what=f"the test ({share:g} of {parcels} parcels)",
        code="wrong-share", meaning="the share counts parcels, and the order of the result is training, test",
    )  # fmt: skip
    again = _rows(split(parcel, share, seed))
    expect(
        np.array_equal(np.sort(again[1]), np.sort(test)), f"two calls with seed {seed} gave different tests",
        code="unseeded", meaning="the seed has to reach the generator that draws",
    )  # fmt: skip
    others = [np.sort(_rows(split(parcel, share, seed + more))[1]) for more in (1, 2, 3)]
    expect(
        any(not np.array_equal(other, np.sort(test)) for other in others),
        f"the seeds {seed} to {seed + 3} all gave the same test", code="seed-ignored",
        meaning="the first parcels of a file are seldom like the rest: draw, by the seed that was given",
    )  # fmt: skip


def _rows(value: Any) -> tuple[np.ndarray, np.ndarray]:
    expect_length(value, 2, what="what split_parcels returned")
    sides = [np.asarray(side) for side in value]
    for side, name in zip(sides, ("training", "test"), strict=True):
        expect(
            side.ndim == 1 and side.dtype.kind in "iu",
            f"the rows of the {name} are {side.dtype} of shape {side.shape}; wanted row numbers, (n,) int64",
            code="no-row-numbers", meaning="np.flatnonzero turns a mask into row numbers",
        )  # fmt: skip
    return sides[0], sides[1]


@check(
    "score", points=2,
    hints=(
        "A parcel with five right digits goes to the wrong town.",
        "read == digits is (N, 6) of True and False. Which rows are True all along?",
        "The mean of True and False is the share of True. .all(axis=1) makes one truth of the six in a row;"
        " take the mean of that, too.",
    ),
)  # fmt: skip
def score_counts_whole_codes(answers: Answers) -> None:
    """Count digits that are right, and PIN codes of which all six are."""
    rng, n = answers.rng, int(answers.rng.integers(60, 90))
    digits = rng.integers(0, 10, (n, 6)).astype(np.uint8)
    is_hard = rng.random((n, 1)) < 0.3  # errors come in company, as under a bad lamp
    wrong = rng.random((n, 6)) < np.where(is_hard, 0.6, 0.05)
    read = np.where(wrong, (digits + rng.integers(1, 10, (n, 6))) % 10, digits)
    read[:4] = digits[:4, ::-1]  # the right digits in the wrong places
    right = read == digits
    pair = answers["pin_accuracy"](read, digits)
    expect_length(pair, 2, what="what pin_accuracy returned")
    digit, pin = pair
    wanted = right.all(axis=1).mean()
    if None not in pair and np.allclose(pair, (wanted, right.mean()), rtol=1e-9):
        meaning = "the docstring asks for digits first, then PIN codes"
        expect_close(pair, (right.mean(), wanted), what="the shares", code="results-swapped", meaning=meaning)
    expect_close(
        digit, right.mean(), what="share of digits right", code="wrong-digit-share",
        meaning="out of all 6 N digits; shares are between 0 and 1",
    )  # fmt: skip
    same = (np.sort(read, axis=1) == np.sort(digits, axis=1)).all(axis=1)
    looks_like = {
        "independence-assumed": (right.mean() ** 6, "digit ** 6 is a model; this is a measurement: count"),
        "digits-counted": (right.mean(), "a PIN code counts only if all six digits are right"),
        "any-digit": (right.any(axis=1).mean(), "one right digit is not enough: all, not any"),
        "by-place": (right.all(axis=0).mean(), "axis 0 runs down the photos; a code lies along axis 1"),
        "order-ignored": (same.mean(), "560001 and 100065 have the same digits and different post offices"),
    }
    for code, (share, meaning) in looks_like.items():
        if pin is not None and np.allclose(pin, share, rtol=1e-9):
            expect_close(pin, wanted, what="share of PIN codes right", code=code, meaning=meaning)
    expect_close(pin, wanted, what="share of PIN codes right", code="wrong-pin-share")


@check(
    "run", points=4, limit_s=30.0,
    hints=(
        "Everything that the run needs comes out of settings. Where do its random numbers come from?",
        "Photos, split and training each take settings['seed']; make one np.random.default_rng(seed) inside"
        " the function and hand it to new_weights and train_reader. Score the test rows.",
        "Six lines: belt_photos gives four things; split_parcels gives train and test; a generator; "
        "new_weights (settings['hidden'] and the generator) goes into train_reader with photos[train] and "
        "digits[train]; read_pins of photos[test] goes into pin_accuracy; a dict of the three results.",
    ),
)  # fmt: skip
def run_has_one_result(answers: Answers) -> None:
    """Make one function of the whole experiment: the same settings give the same bytes, always."""
    seed = int(answers.rng.integers(1, 10**6))
    # products this small run on one thread; on two, beside four busy processes, this took 23 s instead of 1
    small = {"parcels": 30, "hidden": 8, "epochs": 20, "batch": 32}
    settings = {**DEFAULTS, **small, "seed": seed}
    run = answers["run_experiment"]
    result = _expect_result(_without_dice(answers, "run_experiment", settings), settings)
    hashes = {_hash(result), *(_hash(_expect_result(run(dict(settings)), settings)) for _ in range(2))}
    expect(
        len(hashes) == 1,
        f"three runs of the same settings gave {len(hashes)} different hashes of the weights",
        code="not-repeatable",
        meaning="a generator without a seed, or something that an earlier run left behind",
    )  # fmt: skip
    other = _expect_result(run({**settings, "seed": seed + 1}), settings)
    expect(
        _hash(other) not in hashes, f"seeds {seed} and {seed + 1} gave the same weights", code="seed-ignored",
        meaning="a seed that is written into the function answers for one draw of luck only",
    )  # fmt: skip
    _expect_test_score(answers, settings, result)


def _expect_result(value: Any, settings: dict[str, Any]) -> dict[str, Any]:
    missing = {"weights", "digit", "pin"} - set(value)
    expect(
        not missing, f"the result lacks {', '.join(sorted(missing))}", code="incomplete-result",
        meaning="what a run leaves is what it returns: weights, digit and pin",
    )  # fmt: skip
    shapes, hidden = [np.shape(part) for part in value["weights"]], settings["hidden"]
    expect(
        shapes == [(784, hidden), (hidden,), (hidden, 10), (10,)],
        f"the weights have the shapes {shapes}, wanted those of {hidden} hidden units",
        code="settings-ignored", meaning="settings['hidden'] has to reach new_weights",
    )  # fmt: skip
    return value


def _hash(result: dict[str, Any]) -> str:
    parts = (np.ascontiguousarray(part).tobytes() for part in result["weights"])
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _expect_test_score(answers: Answers, settings: dict[str, Any], result: dict[str, Any]) -> None:
    photos, digits, parcel, _ = answers["belt_photos"](settings["parcels"], settings["seed"])
    train, test = answers["split_parcels"](parcel, settings["test_share"], settings["seed"])
    right = answers["read_pins"](result["weights"], photos) == digits
    wanted = float(right[test].mean())
    for share, rows in ((right[train].mean(), "training"), (right.mean(), "all")):
        if np.allclose(result["digit"], share, rtol=1e-9):
            expect_close(
                result["digit"], wanted, what="share of test digits right", code="scores-what-was-learnt",
                meaning=f"this is the share on {rows} rows: score the rows that training never saw",
            )  # fmt: skip
    meaning = "which rows were these? split_parcels says, by settings['test_share'] and settings['seed']"
    for name, share in (("digit", wanted), ("pin", float(right[test].all(axis=1).mean()))):
        expect_close(result[name], share, what=f"result[{name!r}]", code="scores-other-rows", meaning=meaning)


@check(
    "hottest", points=2,
    hints=(
        "run_experiment contains everything, so its total is the largest. Is it where the time is spent?",
        "Compare own seconds, not total ones. If that part took no time at all, how long would the run be?",
        "max(rows, key=...) finds the row with the largest third number. The speed-up is all seconds "
        "together, divided by all seconds less those of that part.",
    ),
)  # fmt: skip
def hottest_by_own_seconds(answers: Answers) -> None:
    """Name the part that takes most time itself, and the speed-up that it could bring at best."""
    rng = answers.rng
    names = [f"part_{letter}" for letter in rng.permutation(list("abcdefgh"))]
    own = np.array([0.41, 0.2, 0.13, 0.1, 0.07, 0.05, 0.03, 0.01]) * rng.uniform(2, 9)
    calls = [500, 7, 40, 800_000, 90, 3, 30_000, 2_000]
    total_s = 1.02 * float(own.sum())
    rows = [("run_experiment", 1, total_s - float(own.sum()), total_s)]
    rows += [(name, n, float(s), float(s)) for name, n, s in zip(names, calls, own, strict=True)]
    rows = [rows[place] for place in rng.permutation(len(rows))]
    hot, hot_s = names[0], float(own[0])
    expect_length(pair := answers["hottest_part"](rows), 2, what="what hottest_part returned")
    name, speedup = pair
    looks_like = {
        "run_experiment": ("largest-total", "the total of a function holds everything that it calls"),
        names[3]: ("most-calls", "many calls may be short ones: seconds count"),
    }
    code, meaning = looks_like.get(name, ("wrong-part", "compare the own seconds, the third number of a row"))
    expect(
        name == hot, f"you named {name!r}; {hot!r} takes {hot_s:.2f} of {total_s:.2f} s itself", code=code,
        meaning=meaning,
    )  # fmt: skip
    is_share = speedup is not None and np.isclose(speedup, [hot_s / total_s, total_s / hot_s]).any()
    code, meaning = "wrong-speedup", "the run takes the sum of all own seconds: totals count parts twice"
    if is_share:
        code, meaning = "share-for-speedup", "the time before over the time after, when the others still run"
    wanted = total_s / (total_s - hot_s)
    expect_close(speedup, wanted, what=f"speed-up without {hot!r}", code=code, meaning=meaning)


@check(
    "drill", points=4,
    hints=(
        "Which name outlives the call? Read one faint photo, then a bright one, then the faint one again.",
        "Divide each photo by its own brightest pixel. The test: first one photo at a time, then all.",
        "photos.max(axis=(1, 2)) has one peak a photo; where it is 0, take 1. np.repeat(..., 6) gives each "
        "of its six digits that peak. The test: transform(photo[None]) of each photo, joined by "
        "np.concatenate; is it np.allclose to the transform of all photos together?",
    ),
)  # fmt: skip
def reader_forgets(answers: Answers) -> None:
    """Mend the reader that remembers, and write the test that would have caught it."""
    peaks = np.sort(answers.rng.choice(np.arange(40, 250, 7), 7, replace=False))  # the faintest first
    photos = np.stack([answers.rng.integers(0, peak, (28, 168)) for peak in peaks]).astype(np.uint8)
    _expect_pure(answers, photos)
    history_matters = answers["history_matters"]
    for transform, told in ((_cut, "a fixed scale"), (_own_peak, "each photo's own peak")):
        expect(
            not history_matters(transform, photos), f"your test accuses a pure function ({told})",
            code="accuses-the-innocent",
            meaning="equal numbers may differ in the last bit: compare with np.allclose",
        )  # fmt: skip
    for transform, told in ((_peak_so_far(), "brightest so far"), (_batch_peak, "brightest of the call")):
        expect(
            history_matters(transform, photos),
            f"your test finds nothing wrong with a function that scales by the {told}",
            code="misses-the-culprit",
            meaning="twice the same call finds nothing: let one photo go alone, then in company",
        )  # fmt: skip


def _expect_pure(answers: Answers, photos: np.ndarray) -> None:
    features, faint, before = answers["digit_features"], photos[:1], photos.copy()
    first, handed = np.array(features(faint.copy())), answers.shared(photos.copy())
    together = features(handed)
    expect(
        (handed == before).all(), "the photos were changed", code="writes-into-the-photos",
        meaning="an argument belongs to the caller: make a new array",
    )  # fmt: skip
    wanted, again = _own_peak(photos), np.array(features(faint.copy()))
    expect(
        first.shape == again.shape and np.allclose(first, again),
        f"a faint photo's largest feature was {first.max():.3f}, and {again.max():.3f} after brighter ones",
        code="remembers", meaning="something outside the function keeps what it saw",
    )  # fmt: skip
    code, meaning = "wrong-scale", "each photo's brightest pixel becomes 1; is an earlier peak kept?"
    if np.allclose(first.max(), 1):
        code, meaning = "depends-on-company", "it looks as if all photos of a call shared one peak"
    elif _cut(faint).max() * 1.001 < first.max() < 1:
        code, meaning = "remembers", "it looks as if a peak were kept from earlier calls"
    expect_close(together, wanted, what="features", code=code, meaning=meaning, rtol=1e-4, atol=1e-6)
    blank = features(np.zeros((1, 28, 168), np.uint8))
    expect_close(blank, np.zeros((6, 784)), what="features of a blank photo", code="blank-photo")


def _cut(photos: np.ndarray) -> np.ndarray:
    return photos.reshape(-1, 28, 6, 28).swapaxes(1, 2).reshape(-1, 784).astype(np.float32) / 255


def _own_peak(photos: np.ndarray) -> np.ndarray:
    brightest = np.maximum(photos.max(axis=(1, 2)), 1)
    return _cut(photos) * (np.float32(255) / np.repeat(brightest, 6)[:, None])


def _batch_peak(photos: np.ndarray) -> np.ndarray:
    return _cut(photos) * np.float32(255 / max(float(photos.max()), 1.0))


def _peak_so_far() -> Callable[[np.ndarray], np.ndarray]:
    seen = [1.0]

    def scaled(photos: np.ndarray) -> np.ndarray:
        seen[0] = max(seen[0], float(photos.max()))
        return _cut(photos) * np.float32(255 / seen[0])

    return scaled


def _without_dice(answers: Answers, name: str, *inputs: Any) -> Any:
    """Return what the learner's function gives, if it left np.random, the one generator for all, alone."""
    seen = answers.inside("try_dice", name=name, inputs=list(inputs))
    expect(
        not seen["is_moved"], "the call moved np.random's state, which belongs to everybody",
        code="global-dice",
        meaning="np.random is one generator for all; make your own with np.random.default_rng(seed)",
    )  # fmt: skip
    return seen["value"]
