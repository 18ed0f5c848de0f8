import pytest

from scalelab.core.errors import ConfigError
from scalelab.serve.batching import BatchPolicy, fixed_cost_s, predict_apart, wait_more_s
from scalelab.serve.retries import BASE_S, LONGEST_S, backoff_s, may_pass

WINDOW = BatchPolicy(max_batch=8, window_s=0.010)


def wait(policy=WINDOW, *, taken=3, last_batch=5, now_s=5.0, fixed_s=1.0):
    return wait_more_s(
        policy, taken=taken, last_batch=last_batch, first_taken_s=5.0, now_s=now_s, fixed_s=fixed_s
    )


@pytest.mark.parametrize("last_batch", [0, 1, 3])
def test_a_service_far_from_its_limit_does_not_wait(last_batch):
    assert wait(taken=1, last_batch=last_batch) == 0
    assert wait(taken=1, last_batch=4) > 0


def test_a_full_batch_does_not_wait():
    assert wait(taken=8, last_batch=8) == 0


def test_under_load_a_batch_waits_for_the_rest_of_the_window():
    assert wait(now_s=5.004) == pytest.approx(0.006)
    assert wait(now_s=5.020) == 0


def test_a_batch_waits_no_longer_than_a_run_costs_whatever_its_size():
    assert wait(fixed_s=0.003) == pytest.approx(0.003)
    assert wait(fixed_s=0.0) == 0


def test_without_a_window_nothing_waits():
    assert wait(BatchPolicy(window_s=0)) == 0


@pytest.mark.parametrize(("fixed_s", "each_s"), [(0.003, 0.0), (0.002, 0.001), (0.0, 0.002)])
def test_the_fixed_cost_is_read_from_runs_of_different_sizes(fixed_s, each_s):
    runs = [(n, fixed_s + each_s * n) for n in (1, 2, 5, 8, 16)]
    assert fixed_cost_s(runs) == pytest.approx(fixed_s, abs=1e-12)


@pytest.mark.parametrize("runs", [[], [(4, 0.01)], [(4, 0.01), (4, 0.02)]], ids=str)
def test_runs_of_one_size_do_not_tell_the_fixed_cost(runs):
    assert fixed_cost_s(runs) == 0


@pytest.mark.parametrize("runs", [[(1, 0.010), (16, 0.001)], [(1, 0.001), (16, 0.5)]], ids=str)
def test_a_fixed_cost_is_never_below_zero_nor_over_the_mean_run(runs):
    assert 0 <= fixed_cost_s(runs) <= sum(seconds for _, seconds in runs) / len(runs)


class Marked(Exception):
    def __init__(self, is_transient):
        self.is_transient = is_transient


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (MemoryError(), True),
        (OSError(28, "no space left"), True),
        (TimeoutError(), True),
        (ValueError("bad image"), False),
        (RuntimeError("no kernel"), False),
        (Marked(True), True),
        (Marked(False), False),
    ],
    ids=repr,
)
def test_what_may_pass_is_memory_files_and_what_the_model_says(error, passes):
    assert may_pass(error) is passes


def test_the_wait_before_another_attempt_doubles_up_to_a_limit_and_is_drawn_below_it():
    assert [backoff_s(n, 1.0) for n in (1, 2, 3)] == [BASE_S, 2 * BASE_S, 4 * BASE_S]
    assert backoff_s(1000, 1.0) == LONGEST_S
    assert backoff_s(2, 0.25) == BASE_S / 2


@pytest.mark.parametrize("fields", [{"max_batch": 0}, {"max_batch": 2000}, {"window_s": -1}, {"window_s": 2}])
def test_a_policy_that_cannot_be_kept_is_refused(fields):
    with pytest.raises(ConfigError):
        BatchPolicy(**fields)


@pytest.mark.parametrize("bad", [(), (0,), (7,), (3, 4), (0, 2, 4, 6), tuple(range(8))], ids=str)
def test_each_input_has_its_own_answer_whatever_its_neighbours_are(bad):
    calls = []

    def predict(images):
        calls.append(len(images))
        if any(image in bad for image in images):
            raise ValueError("poison")
        return [-image for image in images]

    answers = predict_apart(predict, range(8))
    assert [isinstance(one, ValueError) for one in answers] == [image in bad for image in range(8)]
    assert [one for one in answers if not isinstance(one, ValueError)] == [
        -i for i in range(8) if i not in bad
    ]
    assert len(calls) <= 1 + 2 * 3 * max(len(bad), 0)


def test_a_model_with_a_missing_answer_fails_and_is_not_zipped_away():
    answers = predict_apart(lambda images: list(images)[:-1], [1, 2])
    assert all(isinstance(one, RuntimeError) for one in answers)


def test_no_input_is_no_call():
    assert predict_apart(lambda images: pytest.fail("called"), []) == []
