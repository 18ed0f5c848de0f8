"""Measure a pull request against its base: both in turn on this machine, one table, one verdict.

    python scripts/bench_pull_request.py --base origin/main [--suite cost]... [--rounds 6] [--fail-over 10%]

The base is checked out beside (`git worktree`), and each round runs base and head one after the other, the
next one the other way round: a record kept from last week would be of another machine. Both run in this
environment, with the packages of the head. OUT gets base/SUITE, head/SUITE and comment.md.

Exit code 0 if nothing got worse, 5 if something did, 4 if a point of the head failed, 1 if a claim that
the base kept came out FAIL, 2 if there is no such base. A suite that the base cannot run is not compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scalelab.bench.results import read_results
from scalelab.bench.road import read_claims

ROOT = Path(__file__).resolve().parent.parent
MARK = "<!-- scalelab bench -->"
"""by which the comment is found again"""
LONGEST = 60_000
"""characters of a comment; GitHub takes 65,536"""
WORDS = {0: "nothing got worse", 1: "a claim broke", 4: "a point failed", 5: "**worse**"}
MILDEST = (0, 5, 1, 4)
"""any other exit code is graver than these"""


@dataclass
class Outcome:
    """What became of one suite."""

    suite: str
    code: int = 0
    text: str = ""
    notes: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    given = parse(argv)
    if given.comment is not None:
        post(given.comment, given.out / "comment.md")
        return 0
    given.out = given.out.resolve()
    commit = git("rev-parse", "--verify", "--quiet", f"{given.base}^{{commit}}", check=False).stdout.strip()
    if not commit:
        print(f"error: there is no commit {given.base!r}\nhint: git fetch it first", file=sys.stderr)
        return 2
    tree = given.out / "base-tree"
    git("worktree", "remove", "--force", str(tree), check=False)  # what a killed run left
    git("worktree", "add", "--force", "--detach", str(tree), commit)
    try:
        outcomes = [judge(suite, tree, given) for suite in given.suite]
    finally:
        git("worktree", "remove", "--force", str(tree))
    text = page(outcomes, commit)
    (given.out / "comment.md").write_text(text, encoding="utf-8")
    print(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as file:
            file.write(text)
    return gravest([one.code for one in outcomes])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="origin/main", help="what to compare with: a branch, tag or commit")
    parser.add_argument("--suite", action="append", help="name or path; may be repeated")
    parser.add_argument("--tier", default="ci")
    parser.add_argument(
        "--rounds", type=int, default=6, help="of points that declare rounds; 6 or more decide"
    )
    parser.add_argument("--fail-over", default="10%", help="what is worse by more than this, fails")
    parser.add_argument("--out", type=Path, default=Path("runs/pull-request"))
    parser.add_argument(
        "--comment", help="post OUT/comment.md to this pull request by gh, and do nothing else"
    )
    given = parser.parse_args(argv)
    given.suite = given.suite or ["cost", "serving_levers"]
    return given


def judge(suite: str, tree: Path, given: argparse.Namespace) -> Outcome:
    """Run one suite in turn on both sides, and compare them."""
    outcome = Outcome(Path(suite).stem)
    homes = {"base": tree, "head": ROOT}
    folders = {side: given.out / side / outcome.suite for side in homes}
    for number in range(1, given.rounds + 1):
        asked = [suite, "--tier", given.tier, "--rounds", str(number)]
        for side in [*folders] if number % 2 else [*folders][::-1]:
            code = bench(homes[side], "run", *asked, "--out", str(folders[side]))
            if side == "base" and code not in (0, 4):
                outcome.notes.append("The base cannot run this suite: nothing to compare with.")
                del folders["base"]
            elif side == "head" and code != 0:
                outcome.code = code
                outcome.notes.append("The head's report says which, and why.")
                return outcome
    if "base" in folders:
        table = given.out / f"{outcome.suite}.md"
        asked = [str(folders["base"]), str(folders["head"]), "--fail-over", given.fail_over]
        code = bench(ROOT, "compare", *asked, "--markdown", str(table))
        broken = claims(folders["base"], "PASS") & claims(folders["head"], "FAIL")
        outcome.notes += [f"FAIL, which the base kept: {text}" for text in sorted(broken)]
        outcome.code = gravest([1 if broken else 0, code])
        outcome.text = table.read_text(encoding="utf-8") if table.exists() else ""
    return outcome


def claims(folder: Path, verdict: str) -> set[str]:
    """Return the claims of the newest records that came out so.

    Small sizes break claims about a full one on both sides; what the base kept and the head does not is news.
    """
    found = read_claims(read_results(folder).records)
    return {claim["claim"] for claim in found if claim["verdict"] == verdict}


def gravest(codes: Sequence[int]) -> int:
    """Return the exit code that says the most."""
    return max(codes, key=lambda code: MILDEST.index(code) if code in MILDEST else len(MILDEST))


def say(code: int) -> str:
    """Return an exit code in words."""
    return WORDS.get(code, f"exit code {code}")


def page(outcomes: Sequence[Outcome], commit: str) -> str:
    """Return the comment: verdicts first, then the tables."""
    lines = [MARK, f"## Benchmarks against {commit[:12]}", ""]
    for one in outcomes:
        lines += [f"- {one.suite}: {say(one.code)}"]
        lines += [f"  {note}" for note in one.notes]
    if git("diff", "--quiet", commit, "--", "constraints.txt", check=False).returncode:
        lines += ["", "constraints.txt differs from the base's: both sides ran with the head's packages."]
    for one in outcomes:
        if one.text:
            _, _, table = one.text.partition("\n")  # its own heading says B against A
            lines += ["", f"### {one.suite}: the head (B) against the base (A)", table]
    return "\n".join(lines) + "\n"


def bench(home: Path, *arguments: str) -> int:
    """Run `scalelab bench` of the sources in `home` with our packages; return its exit code."""
    env = {**os.environ, "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-m", "scalelab", "bench", *arguments], cwd=home, env=env)
    print(f"{home.name}: bench {' '.join(arguments)}: exit code {done.returncode}", flush=True)
    return done.returncode


def post(number: str, body: Path) -> None:
    """Write the comment of pull request `number`, or the new text into the one that is there."""
    comments = f"repos/{os.environ['GITHUB_REPOSITORY']}/issues/{number}/comments"
    mine = f'.[] | select(.body | startswith("{MARK}")) | .id'
    found = subprocess.run(
        ["gh", "api", "--paginate", comments, "--jq", mine], capture_output=True, text=True, check=True
    )
    ids = found.stdout.split()
    where = (
        ["--method", "PATCH", f"repos/{os.environ['GITHUB_REPOSITORY']}/issues/comments/{ids[0]}"]
        if ids
        else ["--method", "POST", comments]
    )
    text = body.read_text(encoding="utf-8")
    if len(text) > LONGEST:
        text = text[:LONGEST] + "\n\nCut here: the job's artifacts have it whole.\n"
    content = json.dumps({"body": text})
    subprocess.run(["gh", "api", *where, "--input", "-"], input=content, text=True, check=True)


def git(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run git in the checkout."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=check)


if __name__ == "__main__":
    sys.exit(main())
