"""No false verdict on whole submissions to the labs, by the grader as an instructor runs it.

Beside busy neighbours: ``python tests/grader/grader_fair.py --burners 4``.
"""

from __future__ import annotations

import pytest
from sandboxes import in_namespaces

fair = pytest.importorskip("grader_fair")
pytestmark = [in_namespaces, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.mark.parametrize("number", fair.LABS)
def test_no_submission_is_misjudged(number, tmp_path):
    lab = fair.Lab(number)
    handed = [submission for _, submission in lab.submissions()]
    assert sum(each.is_right for each in handed) >= 12
    assert sum(bool(each.wrong) for each in handed) >= 12
    assert not fair.grade(lab, tmp_path)


@pytest.mark.parametrize("number", fair.LABS)
def test_right_submissions_are_of_unlike_styles(number):
    lab = fair.Lab(number)
    assert all(len(set(styles)) >= 3 for styles in lab.right.values())
    assert len(fair.MANNERS) >= 12
    books = {str(submission.cells) for _, submission in lab.submissions() if submission.is_right}
    assert len(books) == fair.RIGHT
