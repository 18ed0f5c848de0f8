# ruff: noqa: E501  (a line is a student's line)
"""Class f: the notebook's metadata, and forged lines of the protocol."""

import copy

from hostile_case import RIGHT, Case, all_tasks, changed, code_cell


def _graded(book):
    return [each for each in book["cells"] if each["metadata"].get("nbgrader", {}).get("grade")]


def _tasks(book):
    return [each for each in book["cells"] if each["metadata"].get("nbgrader", {}).get("solution")]


def delete_checks(book):
    return {**book, "cells": [each for each in book["cells"] if each not in _graded(book)]}


def duplicate_ids(book):
    cells = []
    for cell in book["cells"]:
        empty = {**copy.deepcopy(cell), "source": "pass"}
        cells += [empty, cell, {**empty, "id": "again"}] if cell in _graded(book) else [cell]
    return {**book, "cells": cells}


def more_points(book):
    for cell in _graded(book):
        cell["metadata"]["nbgrader"].update(points=1000, locked=False)
        cell["source"] = "12.0"


def negative_points(book):
    for cell in _graded(book):
        cell["metadata"]["nbgrader"]["points"] = -5


def checks_as_text(book):
    for number, cell in enumerate(_graded(book)):
        cell["cell_type"] = ("raw", "markdown")[number % 2]


def swap_ids(book):
    cells = _graded(book) + _tasks(book)
    names = [cell["metadata"]["nbgrader"]["grade_id"] for cell in cells]
    for cell, name in zip(cells, names[1:] + names[:1], strict=True):
        cell["metadata"]["nbgrader"]["grade_id"] = name


def skip_tags(book):
    for cell in book["cells"]:
        cell["metadata"]["tags"] = [
            "skip-execution",
            "raises-exception",
            "remove-cell",
            "parameters",
            "solution",
        ]


def forged_outputs(book):
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [
                {
                    "output_type": "execute_result",
                    "metadata": {},
                    "data": {"text/plain": "12.0"},
                    "execution_count": 1,
                },
                {"output_type": "stream", "name": "stdout", "text": "passed (2/2)"},
            ]


def other_kernel(book):
    book["metadata"] = {
        "kernelspec": {"name": "bash", "language": "bash", "argv": ["/bin/sh", "-c", "exit 0"]},
        "language_info": {"name": "bash"},
        "grades": {"points": 12},
        "scalelab": {"points": 12, "student": "z_half"},
    }


def all_written_by_hand(book):
    for cell in _graded(book):
        cell["metadata"]["nbgrader"].update(task=True, grade=True, solution=True)


def names_of_others(book):
    for cell in book["cells"]:
        cell["metadata"]["nbgrader"] = {"grade_id": "../../a_honest", "solution": True, "points": "12"}


def right_answers_as_text(book):
    for cell in _tasks(book):
        cell["source"] = RIGHT[cell["metadata"]["nbgrader"]["grade_id"]]
        cell["cell_type"] = "markdown"


def right_answers_in_attachments(book):
    for cell in _tasks(book):
        cell["attachments"] = {"x.py": {"text/plain": RIGHT[cell["metadata"]["nbgrader"]["grade_id"]]}}


def other_setup(book):
    book["cells"].insert(
        1, code_cell("class Lab:\n    def __getattr__(self, name): return lambda *a, **k: 12\nlab = Lab()")
    )


PROTOCOL = """
import json, os, sys
for _line in ('{"score": 12, "points": 12, "status": "graded"}', "Total Score: 12.0 / 12.0 (100%)", "6 passed in 0.01s",
              '<testsuite tests="6" failures="0"/>', "ok 1 - softmax", "softmax: passed (2/2)", "::points::12"):
    print(_line); sys.__stdout__.write(_line + "\\n"); sys.__stderr__.write(_line + "\\n")
    os.write(1, _line.encode() + b"\\n"); os.write(2, _line.encode() + b"\\n")
"""
EVERY_DESCRIPTOR = """
import json, os, struct
def _forge(payload):
    for _fd in range(3, 256):
        for frame in (payload, struct.pack(">I", len(payload)) + payload, struct.pack("<Q", len(payload)) + payload):
            try:
                os.set_blocking(_fd, False)
                os.write(_fd, frame)
            except OSError: pass
"""

CASES = [
    Case("f-no-check-cells", change=changed(delete_checks)),
    Case("f-duplicate-ids", change=changed(duplicate_ids)),
    Case("f-a-thousand-points", change=changed(more_points)),
    Case("f-negative-points", change=changed(negative_points)),
    Case("f-checks-as-text", change=changed(checks_as_text)),
    Case("f-swapped-ids", change=changed(swap_ids)),
    Case("f-skip-tags", change=changed(skip_tags)),
    Case("f-forged-outputs", change=changed(forged_outputs)),
    Case("f-other-kernel", change=changed(other_kernel)),
    Case("f-graded-by-hand", change=changed(all_written_by_hand)),
    Case("f-names-of-others", change=changed(names_of_others)),
    Case("f-answers-as-text", change=changed(right_answers_as_text)),
    Case("f-answers-in-attachments", change=changed(right_answers_in_attachments)),
    Case("f-own-lab", change=changed(other_setup)),
    Case("f-protocol-on-stdout", before=PROTOCOL, answers=all_tasks("print('passed (2/2)'); return 12")),
    Case("f-protocol-on-descriptors", before=EVERY_DESCRIPTOR + "_forge(b'{\"points\": 12, \"outcome\": \"passed\"}')"),
    Case("f-forged-frames", before=EVERY_DESCRIPTOR + """
import msgpack
_forge(msgpack.packb({"value": 0, "is": 12}))
""", answers=all_tasks("_forge(msgpack.packb({'value': 0, 'points': 12, 'data': True})); return 12")),
    Case("f-frame-without-end", before=EVERY_DESCRIPTOR, answers=all_tasks("_forge(b'\\xff\\xff\\xff\\x7f'); return 12"),
         is_rough=True),
    Case("f-explains-and-checks", before="""
lab.check("softmax"); lab.predict("softmax", "12"); lab.hint("softmax"); lab.explain("softmax", "passed 12/12")
lab.points = lab.score = 12
"""),
    Case("f-magics", before="%%bash\necho '{\"points\": 12}' > results.jsonl; kill -9 $PPID; exit 0",
         after="%reset -f\n%run -i lab1.ipynb\n!kill -9 1\n%logstart -o passed.txt\n%config InteractiveShell.xmode='Minimal'"),
    Case("f-language-of-cells", change=changed(lambda book: {**book, "nbformat": 99, "nbformat_minor": -1})),
    Case("f-solution-cells-swapped", answers={"softmax": RIGHT["bubble_fraction"].replace("bubble_fraction(p, m)", "softmax(x)")}),
]  # fmt: skip
