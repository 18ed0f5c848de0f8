"""The alarm never rings early, lets others run, and is as good as gevent's where there is no timerfd."""

import sys
import time

import gevent
import pytest

from scalelab.loadtest import alarm as module
from scalelab.loadtest.alarm import EXACT_TO_PER_S, Alarm


@pytest.fixture(params=["exact", "gevent's"])
def alarm(request, monkeypatch):
    if request.param == "gevent's":
        monkeypatch.setattr(module, "_open_timer", lambda: (None, -1))
    made = Alarm()
    yield made
    made.close()


def test_linux_has_an_exact_one():
    alarm = Alarm(rate_per_s=EXACT_TO_PER_S)
    assert alarm.is_exact == (sys.platform == "linux")
    alarm.close()


def test_a_generator_with_much_to_send_is_not_woken_for_each():
    assert not Alarm(rate_per_s=2 * EXACT_TO_PER_S).is_exact


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9, 0.0004, 0.003])
def test_it_never_rings_early(alarm, seconds):
    for _ in range(20):
        started = time.perf_counter()
        alarm.sleep(seconds)
        assert time.perf_counter() - started >= seconds


@pytest.mark.parametrize("seconds", [0.0, 0.005])
def test_others_run_meanwhile(alarm, seconds):
    seen = []
    gevent.spawn(seen.append, 1)
    alarm.sleep(seconds)
    assert seen == [1]


def test_a_sleeper_that_is_killed_leaves_it_usable(alarm):
    sleeper = gevent.spawn(alarm.sleep, 0.02)
    gevent.sleep(0.001)
    sleeper.kill()
    started = time.perf_counter()
    alarm.sleep(0.05)
    assert time.perf_counter() - started >= 0.05, "the killed one's time rang for this one"


def test_what_rings_late_does_not_wake_who_has_gone_on_to_something_else(alarm):
    slept_s = []

    def give_up_and_sleep_elsewhere():
        with gevent.Timeout(0.005, False):
            alarm.sleep(0.03)
        started = time.perf_counter()
        gevent.sleep(0.1)
        slept_s.append(time.perf_counter() - started)

    gevent.spawn(give_up_and_sleep_elsewhere).get()
    assert slept_s[0] >= 0.1
