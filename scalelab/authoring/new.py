"""A new lab that works: seven headings, one task, its checks, its trial answers. Change it piece by piece."""

from __future__ import annotations

import re
from pathlib import Path

from scalelab.authoring.build import build_lab
from scalelab.authoring.folders import SLUG, LabFolders
from scalelab.core.errors import ConfigError
from scalelab.core.paths import shipped

SKELETON = Path(__file__).with_name("skeleton")
_SOLUTION_FILES = ("source.py", "answers.py", "hidden_checks.py")
_LAB_FILES = ("lab.toml", "checks.py", "README.md")


def new_lab(slug: str, *, title: str = "") -> LabFolders:
    """Write a new lab, and build its notebooks; nothing that is there is touched.

    Args:
        slug: ``NN_words_of_the_title``; the number is its place in the course.

    Raises:
        ConfigError: the slug is no slug, its number is taken, or there is no place for authors.
    """
    if not SLUG.fullmatch(slug):
        raise ConfigError(f"{slug!r} is not a slug", hint="two digits and words: 07_data_parallel")
    labs = shipped("labs")
    if labs.parent.name == "_files":
        raise ConfigError(
            f"{labs} belongs to an installed package",
            hint="work in a checkout, or set SCALELAB_LABS to a folder labs of yours",
        )
    folders = LabFolders(slug, labs / slug, labs.parent / "solutions" / slug)
    number = slug[:2]
    for folder in (folders.lab, folders.solution):
        if taken := sorted(folder.parent.glob(f"{number}_*")):
            raise ConfigError(f"number {number} is taken by {taken[0]}", hint="choose another number")
    words = {
        "slug": slug,
        "prefix": number,
        "number": str(int(number)),
        "title": title or slug[3:].replace("_", " ").capitalize(),
    }
    for folder, names in ((folders.lab, _LAB_FILES), (folders.solution, _SOLUTION_FILES)):
        folder.mkdir(parents=True)
        for name in names:
            text = (SKELETON / f"{name}.txt").read_text(encoding="utf-8")
            filled = re.sub(r"\{(slug|prefix|number|title)\}", lambda found: words[found.group(1)], text)
            (folder / name).write_text(filled, encoding="utf-8", newline="\n")
    build_lab(folders)
    return folders
