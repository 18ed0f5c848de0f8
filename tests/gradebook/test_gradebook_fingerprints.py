"""Fingerprints of code: what a student may change without changing them, and what they find in common."""

from __future__ import annotations

import pytest

from scalelab.grading.fingerprints import K, W, fingerprint

CODE = '''
def softmax(scores):
    """Return shares."""
    shifted = [score - max(scores) for score in scores]
    powers = [math.exp(value) for value in shifted]
    total = sum(powers)
    return [power / total for power in powers]
'''
RENAMED = """
def softmax(x):   # my own work
  'other words'
  a = [ b - max(x)
        for b in x ]
  c = [math.exp(d) for d in a]

  e = sum(c)
  return [f / e for f in c]
"""
OTHER = """
def softmax(scores):
    values = torch.tensor(scores, dtype=torch.float64)
    values = values - values.max()
    return (values.exp() / values.exp().sum()).tolist()
"""


def shared(left: str, right: str) -> float:
    first, second = set(fingerprint(left)), set(fingerprint(right))
    return len(first & second) / min(len(first), len(second))


def test_renaming_layout_and_comments_change_nothing():
    assert fingerprint(CODE)
    assert fingerprint(CODE) == fingerprint(RENAMED)


def test_another_solution_has_other_hashes():
    assert shared(CODE, OTHER) < 0.2


def test_a_common_passage_is_found_wherever_it_stands():
    passage = CODE[CODE.index("powers") :]
    assert len(set(fingerprint(OTHER + passage)) & set(fingerprint(passage + OTHER))) >= 3
    assert shared("before = [1, 2]\n" * 3 + passage, passage) > 0.5


def test_what_was_handed_out_is_no_likeness():
    stub = CODE[: CODE.index("powers")]
    assert not set(fingerprint(CODE, stub)) & set(fingerprint(stub))
    assert fingerprint(CODE, CODE) == []
    assert fingerprint(CODE, stub)


def test_short_code_says_nothing():
    assert fingerprint("") == []
    assert fingerprint("return a + b") == []
    assert len(fingerprint(" ".join(["a +"] * (K // 2)))) == 1


def test_every_common_run_of_k_plus_w_minus_1_tokens_shares_a_hash():
    run = "f . one ( f . two [ 3 ] ) -"  # K + W - 1 tokens
    assert len(run.split()) == K + W - 1
    assert set(fingerprint(f"a = b ; {run} c")) & set(fingerprint(f"while x : y += {run} z / 2"))


def test_code_that_does_not_compile_has_hashes_too():
    broken = CODE.replace("return [", "return ((( '''")
    assert set(fingerprint(broken)) & set(fingerprint(CODE))


def test_hashes_are_the_same_numbers_in_every_process():
    """Rows of different runs are compared, so Python's own salted hash will not do."""
    assert fingerprint("total = sum(values[0] for values in table)") == [43613932179788, 43881423388967]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["'", '"""', "\\", "a'", "#", "0.", "(", "r'\\'"])
def test_no_text_makes_it_slow(text):
    """Quadratic behaviour would take hours here; the limit is the test's own."""
    assert len(fingerprint(text * 300_000)) < 20_000
