# %% [markdown]
# # Lab 01: The prototype
# From a notebook that has several answers to a module that has one.

# %% [markdown]
# ## Question
# On Friday evening a notebook that reads PIN codes from photos of parcels shows a proud number. On Monday
# its author restarts the kernel, runs the same cells from top to bottom, and sees another. Not one
# character was changed. Which number may she promise to the sorting office, and how does one write code
# that has only one?

# %% [markdown]
# ## What you need
# numpy, and one idea from school: a share of a share is a product. No GPU, no torch: the reader here is a
# network so small that it trains in about a second. Open the lab, then look at the parcels.

# %%
from scalelab import Lab

lab = Lab("01_prototype")

# %%
# Given: the photos. A real sorting belt would deliver them; here they are made by seed, from
# real handwriting.
import numpy as np

from scalelab.data import compose_pins


def belt_photos(n_parcels, seed, split="train"):
    """Photograph every parcel twice, one pixel of belt apart; half of them pass at night.

    Returns photos (2n, 28, 168) uint8 with 0 = paper and 255 = ink, digits (2n, 6) uint8,
    parcel (2n,) int64 and is_night (2n,) bool. At night there is half the contrast and six
    times the grain.
    """
    pins = compose_pins(n_parcels, split, seed)
    rng = np.random.default_rng(seed)
    is_night = rng.random(n_parcels) < 0.5
    light, grain = np.where(is_night, 0.5, 1.0), np.where(is_night, 60.0, 10.0)
    photos = []
    for shift in (0, 1):
        noise = rng.standard_normal(pins.images.shape, dtype=np.float32) * grain[:, None, None]
        shot = np.roll(pins.images, shift, axis=2) * light[:, None, None] + noise
        photos.append(np.clip(shot, 0, 255).astype(np.uint8))
    parcel = 1000 + np.arange(n_parcels)
    return (
        np.concatenate(photos),
        np.tile(pins.labels, (2, 1)),
        np.tile(parcel, 2),
        np.tile(is_night, 2),
    )


# %%
from IPython.display import Image

from scalelab.data import PinImages, contact_sheet

photos, digits, parcel, is_night = belt_photos(6, seed=3)
some = np.argsort(parcel, kind="stable")[
    :8
]  # both photos of four parcels, one pixel of belt apart
told = ", ".join(
    f"parcel {parcel[row]} {'at night' if is_night[row] else 'by day'}" for row in some[::2]
)
print(f"one row each, top to bottom: {told}")
Image(contact_sheet(PinImages(photos[some], digits[some])), alt=f"two photos each of {told}")

# %%
# Given: the reader, a network with one hidden layer. It sees one digit at a time: 784 pixels.
DEFAULTS = {
    "parcels": 1000,
    "test_share": 0.3,
    "hidden": 128,
    "epochs": 8,
    "rate": 0.1,  # learning rate
    "batch": 64,  # digits a step
    "seed": 0,
}


def cut_digits(photos):
    """Cut photos (N, 28, 168) uint8 into digits (6N, 784) float32 between 0 and 1."""
    return (
        photos.reshape(-1, 28, 6, 28).swapaxes(1, 2).reshape(-1, 784).astype(np.float32) / 255
    )


def new_weights(hidden, rng):
    """Draw weights (784, hidden), (hidden,), (hidden, 10), (10,) float32 by means of `rng`."""
    first, second = (
        rng.standard_normal((784, hidden)) * 0.05,
        rng.standard_normal((hidden, 10)) * 0.09,
    )
    parts = first, np.zeros(hidden), second, np.zeros(10)
    return [part.astype(np.float32) for part in parts]


def train_reader(weights, photos, digits, settings, rng):
    """Return better weights: momentum descent from `weights`, in an order drawn by `rng`."""
    weights, moves = (
        [part.copy() for part in weights],
        [np.zeros_like(part) for part in weights],
    )
    x, y, batch = cut_digits(photos), digits.ravel(), settings["batch"]
    for _ in range(settings["epochs"]):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - batch + 1, batch):
            rows = order[start : start + batch]
            hidden = np.maximum(x[rows] @ weights[0] + weights[1], 0)
            scores = hidden @ weights[2] + weights[3]
            error = np.exp(scores - scores.max(axis=1, keepdims=True))
            error /= error.sum(axis=1, keepdims=True)  # what the network believes ...
            error[np.arange(batch), y[rows]] -= 1  # ... less what is true
            back = (error @ weights[2].T) * (hidden > 0)
            slopes = x[rows].T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)
            for weight, move, slope in zip(weights, moves, slopes, strict=True):
                move *= 0.9
                move -= np.float32(settings["rate"] / batch) * slope
                weight += move
    return weights


def read_pins(weights, photos, features=cut_digits):
    """Return the digits that the reader sees, (N, 6) int64."""
    hidden = np.maximum(features(photos) @ weights[0] + weights[1], 0)
    return (hidden @ weights[2] + weights[3]).argmax(axis=1).reshape(-1, 6)


# %% [markdown]
# And here is the notebook itself, cell by cell. There is a seed, in the first line. It does not help.

# %%
PROTOTYPE = {
    "load": """
np.random.seed({seed})
photos, digits, parcel, is_night = belt_photos(1000, {seed})""",
    "split": """
rows = np.random.permutation(len(photos))
test, train = rows[:600], rows[600:]""",
    "model": """
weights = new_weights(128, np.random)""",
    "train": """
weights = train_reader(weights, photos[train], digits[train], DEFAULTS, np.random)""",
    "score": """
right = (read_pins(weights, photos[test]) == digits[test]).all(axis=1)
report = {{"pin": float(right.mean()), "photos": len(right)}}""",
}
TOP_TO_BOTTOM = ["load", "split", "model", "train", "score"]
FRIDAY = [
    "load",
    "split",
    "model",
    "train",
    "split",
    "score",
]  # split was run once more, then score
print(
    "\n".join(
        f"In [{n}] ({name}){PROTOTYPE[name]}\n" for n, name in enumerate(FRIDAY, 1)
    ).format(seed=0)
)

# %% [markdown]
# ## Predict
# Put down a number and an interval that you would bet on nine times out of ten. Nobody grades a prediction;
# but *Measure* waits for it, and at the end of the course you see how often your intervals were right.

# %%
lab.predict(
    "friday",
    "The same cells, but split is run once more after training. "
    "By how many points does the share of PIN codes read right change?",
    unit="points",
    range=(-30, 70),
)

# %% tags=["solution-only"]
lab.predict("friday", guess=20, low=5, high=50)

# %%
lab.predict(
    "codes",
    "The finished reader gets about four of five digits right on next week's parcels. "
    "How many of 100 PIN codes are right in all six digits?",
    unit="%",
    range=(0, 100),
)

# %% tags=["solution-only"]
lab.predict("codes", guess=23, low=18, high=35)

# %%
lab.predict(
    "training_share",
    "One run makes the photos, splits them, trains, and scores. "
    "What share of its time is the training loop?",
    unit="%",
    range=(0, 100),
)

# %% tags=["solution-only"]
lab.predict("training_share", guess=70, low=40, high=90)

# %% [markdown]
# ## Build
# A notebook cell may use whatever earlier cells left behind. A **pure function** uses its arguments and
# leaves only its result. You will turn the experiment into four of them.
#
# ### Settings that stay
# Everything that a run depends on goes into one dict. If a run may write into the defaults, the next run
# inherits its whims; if a mistyped name passes, you train something else than you think.

# %% task="settings"
import hashlib
import json


def run_settings(changes):
    """Return all settings of a run: everything in DEFAULTS, with `changes` on top.

    changes: dict, some of the names of DEFAULTS with other values. A name that DEFAULTS lacks
    is refused with a ValueError.
    Returns a new dict at every call: DEFAULTS and `changes` stay as they are, also when the
    caller writes into what it got. (All values are numbers: nothing inside needs a copy.)
    """
    ### BEGIN SOLUTION
    unknown = sorted(set(changes) - set(DEFAULTS))
    if unknown:
        raise ValueError(
            f"no setting is called {', '.join(unknown)}; there are {', '.join(DEFAULTS)}"
        )
    return {**DEFAULTS, **changes}
    ### END SOLUTION


def run_id(settings):
    """Return the name of a run, a str: the first 12 hex digits of the SHA-256 of its settings.

    The settings are written as json.dumps(settings, sort_keys=True) and encoded as UTF-8.
    """
    ### BEGIN SOLUTION
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode("utf-8")).hexdigest()[
        :12
    ]
    ### END SOLUTION


# %% check="settings"
lab.check("settings")

# %% [markdown]
# ### A split without twins
# Each parcel has two photos that differ by one pixel of belt and some grain. A test is worth something only
# if nothing in it was learnt by heart.


# %% task="split"
def split_parcels(parcel, test_share, seed):
    """Deal photos into training and test, parcel by parcel.

    parcel: (N,) int64, the number of the parcel on each photo; one parcel may have several.
    test_share: share of the PARCELS that goes into the test, above 0 and below 1, rounded to
    whole parcels.
    seed: int; it alone decides which parcels these are.
    Returns (train, test), two arrays of row numbers, (n,) int64: each of the N rows is in
    exactly one of them, and no parcel is in both.
    """
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(np.unique(parcel))
    is_test = np.isin(parcel, drawn[: round(test_share * len(drawn))])
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
    ### END SOLUTION


# %% check="split"
lab.check("split")

# %% [markdown]
# ### The score that the sorting office cares about
# A parcel with five right digits travels to the wrong town. So two shares are wanted: of the digits, which
# is what the network learns, and of the whole codes, which is what the belt needs.


# %% task="score"
def pin_accuracy(read, digits):
    """Return (share of digits right, share of PIN codes right), two floats between 0 and 1.

    read, digits: (N, 6) integers, what was read and what is true. A PIN code is right if all
    six digits are.
    """
    ### BEGIN SOLUTION
    right = np.asarray(read) == np.asarray(digits)
    return float(right.mean()), float(right.all(axis=1).mean())
    ### END SOLUTION


# %% check="score"
lab.check("score")

# %% [markdown]
# ### One function for the whole experiment
# Now the five cells of the prototype become one function. Whatever it needs comes in by `settings`, whatever
# it finds out goes back by `return`: then no order of cells can change it, and a fresh process knows enough.


# %% task="run"
def run_experiment(settings):
    """Make the photos, split, train, score: all from `settings`, and nothing is left behind.

    settings: dict with all names of DEFAULTS. Photos come from belt_photos(parcels, seed), the
    split from split_parcels(parcel, test_share, seed), weights and training from ONE generator
    made of the seed.
    Returns {"weights": the four float32 arrays, "digit": share of test digits right, "pin":
    share of test PIN codes right}.
    """
    ### BEGIN SOLUTION
    photos, digits, parcel, _ = belt_photos(settings["parcels"], settings["seed"])
    train, test = split_parcels(parcel, settings["test_share"], settings["seed"])
    rng = np.random.default_rng(settings["seed"])
    weights = train_reader(
        new_weights(settings["hidden"], rng), photos[train], digits[train], settings, rng
    )
    digit, pin = pin_accuracy(read_pins(weights, photos[test]), digits[test])
    return {"weights": weights, "digit": digit, "pin": pin}
    ### END SOLUTION


# %% check="run"
lab.check("run")

# %% [markdown]
# ### Which part would be worth speeding up?
# Before anything is made faster, one looks. Python's profiler counts calls and seconds of every function:
# **own** seconds are spent in its own lines, **total** seconds hold those of everything that it calls as
# well.


# %% task="hottest"
def hottest_part(rows):
    """Name the hottest part of a run and what it is worth.

    rows: list of (name, calls, own_s, total_s); seconds. The whole run takes as long as all
    own_s together.
    Returns (name of the part with the most own seconds, speed-up of a run without that part).
    """
    ### BEGIN SOLUTION
    name, _, own_s, _ = max(rows, key=lambda row: row[2])
    run_s = sum(row[2] for row in rows)
    return name, run_s / (run_s - own_s)
    ### END SOLUTION


# %% check="hottest"
lab.check("hottest")

# %% [markdown]
# ## Measure
# Now for the real thing: fresh Python processes that know nothing of this kernel. `reader.py` is made of
# the cells that you just ran, the newest version of each function, and no history. If one of them leans on
# a variable that only lives in this notebook, this is where it falls.

# %%
# Given: a module out of cells, and a process to run it in. Skim it.
import ast
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from IPython import get_ipython

from scalelab.classroom import Measurement, when_ready
from scalelab.classroom.figures import plot_bars
from scalelab.core.processes import run as run_process

GIVEN = ("belt_photos", "cut_digits")
YOURS = ("run_settings", "split_parcels", "pin_accuracy", "run_experiment")
FINISH = """
import cProfile, hashlib, json, pstats, sys, time
settings, profile = run_settings(json.loads(sys.argv[1])), cProfile.Profile()
run, stats, started_s = run_experiment, {}, time.perf_counter()
if "--profile" in sys.argv:
    run = lambda settings: profile.runcall(run_experiment, settings)
result = run(settings)
seconds = time.perf_counter() - started_s
if "--profile" in sys.argv:
    stats = pstats.Stats(profile).stats
next_photos, next_digits, _, next_night = belt_photos(1000, 2026, "test")
report = {
    "run": run_id(settings), "seconds": seconds,
    "digit": result["digit"], "pin": result["pin"],
    "hash": hashlib.sha256(b"".join(part.tobytes() for part in result["weights"])).hexdigest(),
    "right": (read_pins(result["weights"], next_photos) == next_digits).tolist(),
    "night": next_night.tolist(),
    "rows": [(name, *row[1:4]) for (_, _, name), row in stats.items()],  # calls, own, total
}
"""
LEAVE = """
import json, pathlib
out = pathlib.Path(__file__).with_name("report.json")
out.write_text(json.dumps(report), encoding="utf-8")
"""


def module_of(names):
    """Return the source of a module: the newest cell that defines each name, no history."""
    newest = {}
    for cell in get_ipython().user_ns["In"]:
        with suppress(SyntaxError):  # a cell that did not run is in the history too
            newest |= {
                node.name: cell
                for node in ast.parse(cell).body
                if getattr(node, "name", "") in names
            }
    missing = ", ".join(name for name in names if name not in newest)
    assert not missing, f"run the cells that define {missing}, then this one again"
    return "\n\n".join(dict.fromkeys(newest[name] for name in names))


def run_fresh(source, *arguments):
    """Run source as reader.py in a new interpreter; return what it leaves in `report`."""
    # one thread: with more, floating-point sums may be added in another order
    threads = {
        f"{library}_NUM_THREADS": "1"
        for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reader.py"
        path.write_text(source + LEAVE, encoding="utf-8")
        done = run_process([sys.executable, str(path), *arguments], timeout_s=120, env=threads)
        if done.returncode != 0:
            if "NotImplementedError" in done.output:
                raise NotImplementedError("reader.py needs all four of your functions")
            raise RuntimeError(f"reader.py:\n{done.output[-1500:]}")
        return json.loads(path.with_name("report.json").read_text(encoding="utf-8"))


# %%
def friday_gap(seed=0):
    """Run the prototype in both orders, each in a fresh process; return the gap in points."""
    top, friday = (
        run_fresh(
            module_of(GIVEN) + "".join(PROTOTYPE[name] for name in order).format(seed=seed)
        )
        for order in (TOP_TO_BOTTOM, FRIDAY)
    )
    PINS["top to bottom"], PINS["Friday's order"] = top["pin"], friday["pin"]
    gap = friday["pin"] - top["pin"]
    # the two photos of a parcel are twins, so that there are half as many independent ones
    error = np.sqrt(
        sum(run["pin"] * (1 - run["pin"]) / (run["photos"] / 2) for run in (top, friday))
    )
    return Measurement(
        100 * gap,
        "points",
        verdict="PASS" if gap > 3 * error else "INCONCLUSIVE",
        detail=f"Top to bottom {top['pin']:.1%} of the PIN codes are right, in Friday's order "
        f"{friday['pin']:.1%}; chance alone moves the difference by about {100 * error:.0f} "
        "points.",
    )


PINS = {}
lab.measure("friday", friday_gap)

# %% [markdown]
# Look at what `split` does the second time: `np.random` has moved on, so other photos become the test, and
# most of them were in the training. The cells hold no mistake. The mistake is the order, and a notebook
# does not keep it. It leaves one trace: the numbers in front of the cells, where `split` has a higher one
# than `train`.
#
# Your module next: three processes, one after the other. Then **next week**: a thousand new parcels, in
# handwriting that no training has seen. It is the only judge that cannot be fooled.


# %%
def next_week():
    """Run the module three times; return the share of next week's PIN codes it reads, in %."""
    RUNS[:] = [run_fresh(module_of(GIVEN + YOURS) + FINISH, "{}") for _ in range(3)]
    pins = PINS | {f"module, run {number}": run["pin"] for number, run in enumerate(RUNS, 1)}
    right = np.array(RUNS[0]["right"]).all(axis=1)
    truth = float(right.mean())
    hashes = {run["hash"] for run in RUNS}
    gap = RUNS[0]["pin"] - truth
    verdict = "FAIL" if len(hashes) > 1 else "INCONCLUSIVE"
    n_test = round(DEFAULTS["test_share"] * DEFAULTS["parcels"])
    error = np.sqrt(truth * (1 - truth) * (1 / n_test + 2 / len(right)))
    if len(hashes) == 1 and abs(gap) < 3 * error:
        verdict = "PASS"
    table = [
        {"what": name, "PIN codes right [%]": round(100 * pin, 1)}
        for name, pin in pins.items()
    ]
    table.append(
        {"what": "next week, 1,000 new parcels", "PIN codes right [%]": round(100 * truth, 1)}
    )
    figure = plot_bars(
        table[:-1],
        "what",
        ["PIN codes right [%]"],
        title="The same cells, and a module of them",
        x_title=" ",
        y_title="PIN codes right [%]",
        line_at=100 * truth,
        line_text="next week",
        colours=("#d9822b", "#d9822b", "#3b7dd8", "#3b7dd8", "#3b7dd8"),
    )
    return Measurement(
        100 * truth,
        "%",
        verdict=verdict,
        detail="Hashes of the weights of three runs: "
        f"{', '.join(run['hash'][:12] for run in RUNS)}. The module's own test is "
        f"{100 * gap:+.1f} points from next week; chance alone makes {100 * error:.1f}.",
        figure=figure,
        table=table,
        alt="Bars of the share of PIN codes right: "
        + ", ".join(f"{name} {pin:.0%}" for name, pin in pins.items())
        + f". A line at {truth:.0%} marks next week.",
    )


RUNS = []
codes = lab.measure("codes", next_week)


# %%
def training_share():
    """Profile your module in a fresh process; return the share of the training, in %."""
    rows = run_fresh(module_of(GIVEN + YOURS) + FINISH, "{}", "--profile")["rows"]
    run_s = sum(own_s for _, _, own_s, _ in rows)
    name, speedup = hottest_part(rows)
    for part, calls, own_s, total_s in sorted(rows, key=lambda row: -row[2])[:6]:
        print(f"{part[:44]:44} {calls:7} calls   own {own_s:6.3f} s   total {total_s:6.3f} s")
    train_s = next(total_s for part, _, _, total_s in rows if part == "train_reader")
    return Measurement(
        100 * train_s / run_s,
        "%",
        detail=f"The hottest part is {name}. If it took no time, the run of {run_s:.2f} s "
        "would be "
        f"{speedup:.1f} times as fast; more cannot be had there.",
    )


lab.measure("training_share", training_share)

# %% [markdown]
# ## Explain
# Six digits, each right with probability p: that makes p⁶ for the code, **if** the errors are independent.
# The next cell puts the model beside the measurement.
#
# Then write two or three sentences in place of the dots: why is the first residual positive? What do the six
# digits of one photo share? Would more training data make it go away, or a lamp? No machine grades this:
# your words are kept, and an instructor may read them.

# %%
with when_ready():
    measured = codes.value / 100
    right, night = np.array(RUNS[0]["right"]), np.array(RUNS[0]["night"])
    p, p_day, p_night = right.mean(), right[~night].mean(), right[night].mean()
    mixture = (1 - night.mean()) * p_day**6 + night.mean() * p_night**6
    print(f"digits right: {p:.1%}, by day {p_day:.1%}, at night {p_night:.1%}")
    print(f"PIN codes right, measured:                {measured:6.1%}")
    for model, value in (
        ("one p for all, p^6", p**6),
        ("day and night apart, mean of p^6", mixture),
    ):
        residual = 100 * (measured - value)
        print(f"{model + ':':41} {value:6.1%}   residual {residual:+.1f} points")

# %%
lab.explain("residual", "...")

# %% tags=["solution-only"]
lab.explain(
    "residual",
    "Errors come in company: the six digits of a photo share one lamp. p^6 of a mean is "
    "less than the mean of the p^6, so a mixture of good and bad photos has more whole "
    "codes than its mean digit suggests. With day and night apart hardly any residual is "
    "left. More data lifts both p; only a lamp makes them equal.",
)

# %% [markdown]
# <details><summary>When yours is written: what a good answer names</summary>
#
# - Both residuals, in points, and which assumption of p⁶ the first one breaks.
# - One cause that all digits of a photo have in common, and a line of the print that shows it.
# - What more data would change in that line, and what it would leave.
#
# </details>
#
# ### Drill: the reader that remembers
# Night photos are faint, so a colleague scales the ink: the brightest pixel shall become 1. His unit test
# calls the function twice with the same photo and gets the same features. In service, photos come in the
# order of the belt. Run the next cell, and find what his test could not see.
#
# Then mend it: what a photo becomes must depend on that photo alone. And write the test that he lacked, one
# that finds *any* transform whose answer for a photo depends on which photos came before it or with it.

# %%
brightest = 1.0


def remembering_features(photos):
    """Features (6N, 784) float32 of photos (N, 28, 168) uint8: ink from 0 to 1."""
    global brightest
    brightest = max(brightest, float(photos.max()))
    return cut_digits(photos) * np.float32(255 / brightest)


faint = belt_photos(300, seed=5)[0] // 2
before = remembering_features(faint[:1]).max(), remembering_features(faint[:1]).max()
remembering_features(belt_photos(5, seed=6)[0])
after = remembering_features(faint[:1]).max()
print(f"unit test: {before[0]:.2f} and {before[1]:.2f}. After ten other photos: {after:.2f}.")


# %% task="drill"
def digit_features(photos):
    """Return features (6N, 784) float32 of photos (N, 28, 168) uint8, each scaled by itself.

    The brightest pixel of every photo becomes 1, its paper (0) stays 0; a photo without any
    ink gives zeros. `photos` stays as it is.
    """
    ### BEGIN SOLUTION
    peaks = np.maximum(photos.reshape(len(photos), -1).max(axis=1), 1)
    return cut_digits(photos) * (255 / np.repeat(peaks, 6).astype(np.float32))[:, None]
    ### END SOLUTION


def history_matters(transform, photos):
    """Return True if what `transform` makes of a photo depends on other photos, else False.

    transform: (N, 28, 168) uint8 to (6N, 784) float32; it may remember, so the order of your
    calls matters.
    photos: (N, 28, 168) uint8, the faintest first.
    """
    ### BEGIN SOLUTION
    alone = np.concatenate([transform(photo[None]) for photo in photos])
    return not np.allclose(alone, transform(photos))
    ### END SOLUTION


# %% check="drill"
lab.check("drill")

# %%
brightest = 1.0
shots = belt_photos(40, seed=7)[0]
shots = shots[np.argsort(shots.max(axis=(1, 2)), kind="stable")]
shots[0] //= 2
with when_ready():
    for transform in (remembering_features, cut_digits, digit_features):
        print(f"{transform.__name__:22} history matters: {history_matters(transform, shots)}")

# %% [markdown]
# ## Cost
# One run on a rented machine of two cores, and a million readings at the speed that this kernel manages.
# Small sums; the habit is what counts.

# %%
import time

from scalelab.cost import cost_of_training, cost_per_million

weights = new_weights(
    DEFAULTS["hidden"], np.random.default_rng(0)
)  # untrained ones read as fast
photos = belt_photos(500, seed=8)[0]
started_s = time.perf_counter()
read_pins(weights, photos)
rate_per_s = len(photos) / (time.perf_counter() - started_s)
if codes:  # else no module has run
    lab.cost(
        cost_of_training(RUNS[0]["seconds"], currency="INR"), what="one run of the module"
    )

# %%
lab.cost(
    cost_per_million(rate_per_s, currency="INR"),
    what=f"a million readings, {rate_per_s:,.0f} a second",
)

# %%
lab.progress()
