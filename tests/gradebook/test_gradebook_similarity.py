"""Places to look: copies are found, what everybody writes is not, and the work stays bounded."""

from __future__ import annotations

import random

from gradebook_classes import CODE, TWINS, graded, make_class

from scalelab.gradebook.similarity import common_limit, similar_pairs
from scalelab.grading.fingerprints import fingerprint


def with_code(student: str, **codes: str):
    return graded(student, fingerprints={task: fingerprint(code) for task, code in codes.items()})


def own_code(number: int) -> str:
    """Return code of 20 lines that nobody else writes: attributes keep their names in a fingerprint."""
    rng = random.Random(number)
    return "\n".join(f"x = a.f{rng.randrange(99)}(b.g{rng.randrange(99)}, b)" for _ in range(20))


def test_two_who_share_uncommon_code_are_found():
    grades = make_class(40)
    twins = {grades[place].student for place in TWINS}
    pairs = similar_pairs(grades)
    assert {pairs[0].left, pairs[0].right} == twins
    assert pairs[0].likeness == 1.0
    assert pairs[0].tasks == ("accumulate",)


def test_what_the_whole_class_writes_is_no_likeness():
    assert similar_pairs([with_code(f"s{n}", accumulate=CODE) for n in range(40)]) == []


def test_a_group_up_to_the_limit_is_found_and_a_larger_one_is_common():
    honest = [with_code(f"h{n:02d}", t=own_code(n)) for n in range(36)]
    limit = common_limit(40)
    group = [with_code(f"g{n}", t=own_code(999)) for n in range(limit)]
    assert len(similar_pairs([*honest, *group])) == limit * (limit - 1) // 2
    group.append(with_code("g99", t=own_code(999)))
    assert similar_pairs([*honest[:-1], *group]) == []


def test_a_copy_of_one_task_of_many_is_found_by_that_task():
    """Renamed, with comments of one's own, beside own work."""
    copied = own_code(1).replace("x =", "result =").replace(", b)", ", value)") + "\n# mine"
    grades = [with_code(f"s{n}", one=own_code(100 + n)) for n in range(20)]
    grades += [with_code("a", one=own_code(50), two=own_code(1)), with_code("b", two=copied)]
    (pair,) = similar_pairs(grades)
    assert (pair.left, pair.right, pair.tasks) == ("a", "b", ("two",))


def test_honest_work_is_not_shown():
    assert similar_pairs([with_code(f"s{n}", t=own_code(n)) for n in range(60)]) == []


def test_the_order_of_rows_does_not_matter():
    grades = make_class(40)
    shuffled = random.Random(1).sample(grades, len(grades))
    assert similar_pairs(grades) == similar_pairs(shuffled)


def test_rows_without_fingerprints_are_no_class():
    assert similar_pairs([]) == []
    assert similar_pairs([graded("mira"), graded("ravi")]) == []
    assert similar_pairs([with_code("mira", t=CODE), with_code("ravi", t=CODE)]) == []
