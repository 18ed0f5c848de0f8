"""A class made by seed: rows of results as the grader writes them, with every outcome in it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from scalelab.grading.fingerprints import fingerprint
from scalelab.grading.grades import Grade, append_grade

TASKS = (  # name, points, goal, share of the class that passes, is it hidden
    ("weights", 2.0, "Weigh every micro-batch by its share of the labelled digits.", 0.85, False),
    ("accumulate", 4.0, "Accumulate gradients that equal the full batch's.", 0.6, False),
    ("memory", 3.0, "Keep the peak at one micro-batch.", 0.45, False),
    ("noise-scale", 3.0, "Estimate the gradient noise scale from two batch sizes.", 0.25, False),
    ("accumulate-corners", 1.0, "Give the gradient of the whole for single photos.", 0.5, True),
)
WRONG = {
    "weights": ("equal-shares", "every micro-batch weighs the same here, full or not"),
    "accumulate": ("mean-of-means", "a short last micro-batch counts as much as a full one"),
    "memory": ("graph-kept", "the graph of the first micro-batch is alive when the last one runs"),
    "noise-scale": ("biased-norm", "the squared norm of a noisy gradient is too large on average"),
    "accumulate-corners": ("nan-corner", "0/0 where a micro-batch has no label"),
}
NAMES = ["Mira", "Arjun", "Neha", "Ravi", "Sana", "Tomas", "Yuki", "Lena", "Omar", "Priya"]
ANSWER = "S is an average, and a few loud photos carry much of it; a typical photo is quieter."
CODE = """
def accumulate(model, batches):
    total = sum(int((labels != IGNORE).sum()) for _, labels in batches)
    nats = 0.0
    for images, labels in batches:
        loss = summed_loss(model, images, labels) / total
        loss.backward()
        nats += float(loss)
    return nats
"""
OWN_LINES = """assert len(batches) > 0, 'empty'
model.train()
model.zero_grad(set_to_none=True)
counts = []
if total == 0: return 0.0
losses.append(loss.detach())
images = images.to(device)
scale = 1.0 / max(total, 1)
with torch.enable_grad(): pass
labels = labels.long().clone()
print(total, nats)
for p in model.parameters(): p.requires_grad_(True)
weights = [n / total for n in ns]
x, y = y, x""".splitlines()
TWINS = (3, 17)
"""places in the class of the two whose code is alike"""
HIDDEN_VALUE = "got 0.123456789 for seed 987654321"
"""in the message of a hidden check: must not get out"""


def check_row(name: str, outcome: str, **more: Any) -> dict[str, Any]:
    """Return a check's part of a row, as the grader writes it."""
    _, points, goal, _, is_hidden = next(task for task in TASKS if task[0] == name)
    row = {
        "name": name, "points": points if outcome == "passed" else 0.0, "max_points": points, "goal": goal,
        "message": "", "code": "", "meaning": "", "hint": "", "outcome": outcome, "is_hidden": is_hidden,
    }  # fmt: skip
    if outcome == "failed":
        code, meaning = WRONG[name]
        told = HIDDEN_VALUE if is_hidden else "the gradient is 71 % off, wanted at most 0.1 %"
        row |= {"code": code, "meaning": meaning, "message": told, "hint": "What does `backward()` add up?"}
    if outcome == "crashed":
        row |= {
            "code": "crashed",
            "message": "ZeroDivisionError: division by zero, in line 3 of `accumulate`",
        }
    if outcome == "not attempted":
        row["message"] = f"`{name}` is still the stub: write its body and run the cell again"
    return {**row, **more}


def graded(student: str, outcomes: dict[str, str] | None = None, **more: Any) -> Grade:
    """Return a graded row; tasks that are not named passed."""
    checks = [check_row(task[0], (outcomes or {}).get(task[0], "passed")) for task in TASKS]
    return Grade(**{
        "student": student, "submission": f"{student}.ipynb", "sha256": "0" * 64,
        "lab": "06_gradient_accumulation", "lab_sha256": "1" * 64, "status": "graded",
        "points": sum(check["points"] for check in checks),
        "max_points": sum(task[1] for task in TASKS), "checks": checks, "seconds": 0.1,
        "graded_at": "2026-11-26T10:00:00+00:00", **more,
    })  # fmt: skip


def not_graded(student: str, status: str, reason: str) -> Grade:
    """Return a row without checks."""
    return graded(student, status=status, reason=reason, checks=[], points=0.0)


def make_class(count: int = 40, *, seed: int = 0) -> list[Grade]:
    """Return a class of `count`: strong and weak students, four whose files were no use, one pair alike."""
    rng = random.Random(seed)
    grades = []
    for number in range(count):
        student = f"{NAMES[number % len(NAMES)].lower()}{number:02d}"
        ability = rng.gauss(0, 0.25)
        outcomes = {}
        for name, _, _, share, _ in TASKS:
            if rng.random() > share + ability:
                outcomes[name] = rng.choices(("failed", "crashed", "not attempted"), (6, 1, 3))[0]
        grades.append(graded(
            student, outcomes, seconds=rng.lognormvariate(-1.5, 0.6), isolation=["no network", "own user"],
            written={"residual": ANSWER} if rng.random() < 0.8 else {},
            notes=["cell 7 ended in an error: `NameError: plt`"] if number % 9 == 0 else [],
            attempts=[f"{student}-1.ipynb"] if number % 11 == 0 else [], late=number % 8 == 0,
            submitted_at=f"2026-11-{1 + number % 20:02d}T12:00:00+05:30",
            fingerprints={"accumulate": fingerprint(_variant(CODE, 999 if number in TWINS else number))},
            graded_at=f"2026-11-26T10:00:{number % 60:02d}+00:00",
        ))  # fmt: skip
    for number, (status, reason) in enumerate((
        ("refused", "the file ends in the middle: it is no whole notebook"), ("timed out", "it ran for 60 s"),
        ("crashed", "it used more than 2 GiB of memory"), ("refused", "the archive holds no notebook"),
    )):  # fmt: skip
        place = 5 + 7 * number
        if place < count:
            grades[place] = not_graded(grades[place].student, status, reason)
    return grades


def _variant(code: str, seed: int) -> str:
    """Return the code with lines of one's own between its lines."""
    rng, lines = random.Random(seed), code.splitlines()
    for line in rng.sample(OWN_LINES, 8):
        lines.insert(rng.randrange(2, len(lines)), "    " + line)
    return "\n".join(lines)


def write_results(out: Path, grades: list[Grade]) -> Path:
    """Write ``results.jsonl``; return the folder."""
    append_grade(out / "results.jsonl", *grades)
    return out
