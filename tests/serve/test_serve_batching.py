import pytest

from scalelab.core.errors import ConfigError
from scalelab.serve.batching import BatchPolicy, predict_apart, wait_more_s

WINDOW = BatchPolicy(max_batch=8, window_s=0.010)


def test_an_idle_service_does_not_wait():
    assert wait_more_s(WINDOW, taken=1, last_batch=1, first_taken_s=5.0, now_s=5.0) == 0
    assert wait_more_s(WINDOW, taken=1, last_batch=0, first_taken_s=5.0, now_s=5.0) == 0


def test_a_full_batch_does_not_wait():
    assert wait_more_s(WINDOW, taken=8, last_batch=8, first_taken_s=5.0, now_s=5.0) == 0


def test_under_load_a_batch_waits_for_the_rest_of_the_window():
    assert wait_more_s(WINDOW, taken=3, last_batch=5, first_taken_s=5.0, now_s=5.004) == pytest.approx(0.006)
    assert wait_more_s(WINDOW, taken=3, last_batch=5, first_taken_s=5.0, now_s=5.020) == 0


def test_without_a_window_nothing_waits():
    assert wait_more_s(BatchPolicy(), taken=3, last_batch=5, first_taken_s=5.0, now_s=5.0) == 0


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
