"""Trial answers of lab 01: right ones in several styles, wrong ones by the feedback they must get."""

from scalelab.grading.trials import Task

_IDENTITY = """
import hashlib, json
def run_id(settings):
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
"""
_SETTINGS = """
def run_settings(changes):
    if set(changes) - set(DEFAULTS):
        raise ValueError(f"unknown: {set(changes) - set(DEFAULTS)}")
    return {**DEFAULTS, **changes}
"""

SETTINGS = Task(
    right=[
        _SETTINGS + _IDENTITY,
        # a frozen dataclass: its constructor knows the names
        """
import hashlib, json
from dataclasses import asdict, make_dataclass
fields = [(name, type(value), value) for name, value in DEFAULTS.items()]
Settings = make_dataclass("Settings", fields, frozen=True)
def run_settings(changes):
    try:
        return asdict(Settings(**changes))
    except TypeError as error:
        raise ValueError(str(error)) from None
def run_id(settings):
    digest = hashlib.new("sha256")
    digest.update(bytes(json.dumps(settings, sort_keys=True), "utf-8"))
    return digest.hexdigest()[0:12]
""",
        # a loop over a copy
        """
import copy, hashlib, json
def run_settings(changes):
    settings = copy.deepcopy(DEFAULTS)
    for name in changes:
        if name not in settings:
            raise ValueError(name)
        settings[name] = changes[name]
    return settings
def run_id(settings):
    ordered = {name: settings[name] for name in sorted(settings)}
    return "".join(f"{byte:02x}" for byte in hashlib.sha256(json.dumps(ordered).encode()).digest()[:6])
""",
    ],
    wrong={
        "remembers-the-last-run": """
def run_settings(changes):
    if set(changes) - set(DEFAULTS):
        raise ValueError
    DEFAULTS.update(changes)
    return dict(DEFAULTS)
"""
        + _IDENTITY,
        "defaults-win": _SETTINGS.replace("{**DEFAULTS, **changes}", "{**changes, **DEFAULTS}")
        + _IDENTITY,
        "error-returned": """
def run_settings(changes):
    for name in changes:
        if name not in DEFAULTS:
            return ValueError(name)
    return {**DEFAULTS, **changes}
"""
        + _IDENTITY,
        "typo-accepted": """
def run_settings(changes):
    return DEFAULTS | changes
"""
        + _IDENTITY,
        "wrong-exception": """
def run_settings(changes):
    for name in changes:
        DEFAULTS[name]
    return {**DEFAULTS, **changes}
"""
        + _IDENTITY,
        "incomplete-settings": """
def run_settings(changes):
    if set(changes) - set(DEFAULTS):
        raise ValueError
    return dict(changes) if changes else dict(DEFAULTS)
"""
        + _IDENTITY,
        "order-of-keys": _SETTINGS
        + """
import hashlib, json
def run_id(settings):
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
""",
        "setting-left-out": _SETTINGS
        + """
import hashlib, json
def run_id(settings):
    rest = {name: value for name, value in settings.items() if name != "seed"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:12]
""",
        "not-the-recipe": _SETTINGS
        + """
def run_id(settings):
    return f"{hash(tuple(sorted(settings.items()))) & 0xFFFFFFFFFFFF:012x}"
""",
    },
    crashing="""
def run_settings(changes):
    return {**DEFAULTS, **changes[0]}
"""
    + _IDENTITY,
)

SPLIT = Task(
    right=[
        """
def split_parcels(parcel, test_share, seed):
    rng = np.random.default_rng(seed)
    ids = np.unique(parcel)
    chosen = rng.choice(ids, round(test_share * len(ids)), replace=False)
    mask = np.isin(parcel, chosen)
    return np.where(~mask)[0], np.where(mask)[0]
""",
        """
import random
def split_parcels(parcel, test_share, seed):
    ids = sorted(set(parcel.tolist()))
    random.Random(seed).shuffle(ids)
    chosen = set(ids[: round(test_share * len(ids))])
    train = [row for row, one in enumerate(parcel.tolist()) if one not in chosen]
    test = [row for row, one in enumerate(parcel.tolist()) if one in chosen]
    return np.array(train), np.array(test)
""",
    ],
    wrong={
        "parcel-on-both-sides": """
def split_parcels(parcel, test_share, seed):
    rows = np.random.default_rng(seed).permutation(len(parcel))
    cut = round(test_share * len(parcel))
    return rows[cut:], rows[:cut]
""",
        "unseeded": """
def split_parcels(parcel, test_share, seed):
    ids = np.random.default_rng().permutation(np.unique(parcel))
    mask = np.isin(parcel, ids[: round(test_share * len(ids))])
    return np.where(~mask)[0], np.where(mask)[0]
""",
        "seed-ignored": """
def split_parcels(parcel, test_share, seed):
    ids = np.unique(parcel)
    mask = np.isin(parcel, ids[: round(test_share * len(ids))])
    return np.where(~mask)[0], np.where(mask)[0]
""",
        "rows-lost-or-doubled": """
def split_parcels(parcel, test_share, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(parcel), len(parcel))
    cut = round(test_share * len(parcel))
    return rows[cut:], rows[:cut]
""",
        "wrong-share": """
def split_parcels(parcel, test_share, seed):
    ids = np.random.default_rng(seed).permutation(np.unique(parcel))
    mask = np.isin(parcel, ids[: round(test_share * len(ids))])
    return np.where(mask)[0], np.where(~mask)[0]
""",
        "parcel-numbers": """
def split_parcels(parcel, test_share, seed):
    ids = np.random.default_rng(seed).permutation(np.unique(parcel))
    count = round(test_share * len(ids))
    return ids[count:], ids[:count]
""",
        "no-row-numbers": """
def split_parcels(parcel, test_share, seed):
    ids = np.random.default_rng(seed).permutation(np.unique(parcel))
    mask = np.isin(parcel, ids[: round(test_share * len(ids))])
    return ~mask, mask
""",
        "global-dice": """
def split_parcels(parcel, test_share, seed):
    np.random.seed(seed)
    ids = np.random.permutation(np.unique(parcel))
    mask = np.isin(parcel, ids[: round(test_share * len(ids))])
    return np.where(~mask)[0], np.where(mask)[0]
""",
    },
    crashing="""
def split_parcels(parcel, test_share, seed):
    return np.split(parcel, test_share)
""",
)

SCORE = Task(
    right=[
        """
def pin_accuracy(read, digits):
    hits = (read == digits).sum(axis=1)
    return hits.sum() / (6 * len(hits)), (hits == 6).mean()
""",
        """
def pin_accuracy(read, digits):
    pairs = list(zip(read.tolist(), digits.tolist()))
    whole = sum(one == two for one, two in pairs)
    single = sum(a == b for one, two in pairs for a, b in zip(one, two))
    return single / (6 * len(pairs)), whole / len(pairs)
""",
    ],
    wrong={
        "independence-assumed": """
def pin_accuracy(read, digits):
    share = (read == digits).mean()
    return share, share**6
""",
        "digits-counted": """
def pin_accuracy(read, digits):
    share = (read == digits).mean()
    return share, (read == digits).mean(axis=1).mean()
""",
        "any-digit": """
def pin_accuracy(read, digits):
    return (read == digits).mean(), (read == digits).any(axis=1).mean()
""",
        "by-place": """
def pin_accuracy(read, digits):
    return (read == digits).mean(), (read == digits).all(axis=0).mean()
""",
        "order-ignored": """
def pin_accuracy(read, digits):
    same = [sorted(one) == sorted(two) for one, two in zip(read.tolist(), digits.tolist())]
    return (read == digits).mean(), sum(same) / len(same)
""",
        "results-swapped": """
def pin_accuracy(read, digits):
    right = read == digits
    return right.all(axis=1).mean(), right.mean()
""",
        "wrong-digit-share": """
def pin_accuracy(read, digits):
    return (read == digits).sum(axis=1).mean(), (read == digits).all(axis=1).mean()
""",
    },
    crashing="""
def pin_accuracy(read, digits):
    return read.accuracy(digits)
""",
)

_RUN = """
def run_experiment(settings):
    photos, digits, parcel, _ = belt_photos(settings["parcels"], settings["seed"])
    train, test = split_parcels(parcel, settings["test_share"], settings["seed"])
    rng = np.random.default_rng(settings["seed"])
    start = new_weights(settings["hidden"], rng)
    weights = train_reader(start, photos[train], digits[train], settings, rng)
    digit, pin = pin_accuracy(read_pins(weights, photos[test]), digits[test])
    return dict(weights=weights, digit=digit, pin=pin)
"""

RUN = Task(
    right=[
        _RUN,
        # another generator, another way to count
        """
def run_experiment(settings):
    n, seed = settings["parcels"], settings["seed"]
    photos, digits, parcel, is_night = belt_photos(n_parcels=n, seed=seed)
    train, test = split_parcels(parcel, settings["test_share"], seed)
    dice = np.random.RandomState(seed)
    weights = new_weights(settings["hidden"], dice)
    weights = train_reader(weights, photos[train], digits[train], settings, dice)
    shares = pin_accuracy(read_pins(weights, photos[test]), digits[test])
    result = {"weights": weights}
    result["digit"], result["pin"] = shares
    return result
""",
    ],
    wrong={
        "not-repeatable": """
kept = {}
"""
        + _RUN.replace(
            "start = new_weights", "start = kept.get('last') or new_weights"
        ).replace("    return", "    kept['last'] = weights\n    return"),
        "global-dice": _RUN.replace('np.random.default_rng(settings["seed"])', "np.random"),
        "seed-ignored": _RUN.replace('settings["seed"]', "0"),
        "settings-ignored": _RUN.replace(
            'new_weights(settings["hidden"], rng)', "new_weights(128, rng)"
        ),
        "scores-what-was-learnt": _RUN.replace(
            "photos[test]), digits[test]", "photos[train]), digits[train]"
        ),
        "scores-other-rows": _RUN.replace(
            "train, test = split_parcels",
            "rows = np.random.default_rng(1).permutation(len(photos))\n"
            "    train, test = rows[30:], rows[:30]\n    unused = split_parcels",
        ),
        "incomplete-result": _RUN.replace(
            "dict(weights=weights, digit=digit, pin=pin)", '{"pin": pin}'
        ),
    },
    crashing=_RUN.replace("photos[test]", "photos['test']"),
)

HOTTEST = Task(
    right=[
        """
def hottest_part(rows):
    total = 0.0
    hottest = rows[0]
    for row in rows:
        total += row[2]
        if row[2] > hottest[2]:
            hottest = row
    return hottest[0], 1 / (1 - hottest[2] / total)
""",
        """
def hottest_part(rows):
    own = {row[0]: row[2] for row in rows}
    ranked = sorted(own, key=own.get, reverse=True)
    return [ranked[0], sum(own.values()) / sum(own[part] for part in ranked[1:])]
""",
    ],
    wrong={
        "largest-total": """
def hottest_part(rows):
    row = max(rows, key=lambda row: row[3])
    return row[0], 2.0
""",
        "most-calls": """
def hottest_part(rows):
    row = max(rows, key=lambda row: row[1])
    return row[0], 2.0
""",
        "wrong-part": """
def hottest_part(rows):
    row = max(rows, key=lambda row: row[2] / row[1])
    return row[0], 2.0
""",
        "share-for-speedup": """
def hottest_part(rows):
    row = max(rows, key=lambda row: row[2])
    return row[0], sum(row[2] for row in rows) / row[2]
""",
        "wrong-speedup": """
def hottest_part(rows):
    row = max(rows, key=lambda row: row[2])
    total = sum(row[3] for row in rows)
    return row[0], total / (total - row[2])
""",
    },
    crashing="""
def hottest_part(rows):
    return max(rows, key=lambda row: row["own_s"])
""",
)

_TEST = """
def history_matters(transform, photos):
    alone = [transform(photos[n : n + 1]) for n in range(len(photos))]
    together = transform(photos).reshape(len(photos), 6, 784)
    return any(not np.allclose(one, many) for one, many in zip(alone, together))
"""
_FEATURES = """
def digit_features(photos):
    peaks = photos.max(axis=(1, 2)).astype(np.float32)
    peaks[peaks == 0] = 1
    return cut_digits(photos) * 255 / peaks.repeat(6)[:, None]
"""

DRILL = Task(
    right=[
        _FEATURES + _TEST,
        """
def digit_features(photos):
    made = []
    for photo in photos:
        scale = 255 / photo.max() if photo.any() else 1.0
        made.append(cut_digits(photo[None]) * np.float32(scale))
    return np.concatenate(made)

def history_matters(transform, photos):
    seen = []
    for photo in photos:
        seen.append(transform(photo[np.newaxis]))
    company = transform(photos)
    return bool(np.abs(np.vstack(seen) - company).max() > 1e-5)
""",
    ],
    wrong={
        "remembers": """
brightest = 1.0
def digit_features(photos):
    global brightest
    brightest = max(brightest, float(photos.max()))
    return cut_digits(photos) * np.float32(255 / brightest)
"""
        + _TEST,
        "depends-on-company": """
def digit_features(photos):
    return cut_digits(photos) * np.float32(255 / max(photos.max(), 1))
"""
        + _TEST,
        "wrong-scale": """
def digit_features(photos):
    return cut_digits(photos)
"""
        + _TEST,
        "writes-into-the-photos": """
def digit_features(photos):
    peaks = np.maximum(photos.max(axis=(1, 2)), 1)[:, None, None]
    photos[:] = np.rint(photos * (255 / peaks))
    return cut_digits(photos)
"""
        + _TEST,
        "not-a-number": """
def digit_features(photos):
    peaks = photos.max(axis=(1, 2)).astype(np.float32)
    with np.errstate(all="ignore"):
        return cut_digits(photos) * 255 / peaks.repeat(6)[:, None]
"""
        + _TEST,
        "misses-the-culprit": _FEATURES
        + """
def history_matters(transform, photos):
    return not np.allclose(transform(photos), transform(photos))
""",
        "accuses-the-innocent": _FEATURES
        + """
def history_matters(transform, photos):
    return True
""",
    },
    crashing="""
def digit_features(photos):
    return cut_digits(photos) / photos.max(axis=(1, 2))
"""
    + _TEST,
)

ANSWERS = {
    "settings": SETTINGS,
    "split": SPLIT,
    "score": SCORE,
    "run": RUN,
    "hottest": HOTTEST,
    "drill": DRILL,
}
