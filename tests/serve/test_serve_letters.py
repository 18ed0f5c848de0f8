"""``scalelab serve dead-letters`` as its user meets it."""

import os
import uuid

import pytest
from click.testing import CliRunner
from serve_brokers import Valkey

from scalelab.cli import main
from scalelab.serve.broker import Answer
from scalelab.serve.protocol import FAILED, Task, answer
from scalelab.serve.settings import StackSettings
from scalelab.serve.state import READY, Child, StackState, keep_broker, take_lock

pytestmark = pytest.mark.slow
KINDS = (Valkey,)


@pytest.fixture
def ids(queue):
    """Three tasks that were given up."""
    tasks = [Task(uuid.uuid4().hex, bytes(2048), "gateway", 60.0) for _ in range(3)]
    queue.put(*tasks)
    worker = queue.worker("w1")
    worker.finish(
        [
            Answer(one, answer(one.task.task_id, FAILED), dead_letter="the model failed: ValueError")
            for one in worker.take(3, 0)
        ]
    )
    return [one.task_id for one in tasks]


@pytest.fixture
def letters(queue):
    def invoke(*words):
        there = ["--broker", queue.url, "--queue", queue.name]
        return CliRunner().invoke(main, ["serve", "dead-letters", words[0], *there, *words[1:]])

    return invoke


def test_letters_are_listed_newest_last_with_their_reason(letters, ids):
    lines = letters("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ids
    assert all("2.00 KiB" in line and "ValueError" in line for line in lines)
    assert letters("list", "--limit", "1").stdout.split()[0] == ids[2]


def test_letters_are_retried_and_dropped_by_id_and_all_together(letters, ids, queue):
    assert "1 queued again" in letters("retry", ids[0]).output
    assert queue.look_up(ids[0]) == [b""]
    assert "1 forgotten" in letters("drop", ids[1]).output
    assert b"failed" in queue.look_up(ids[1])[0]
    assert "1 queued again" in letters("retry", "--all").output
    assert "no dead letters" in letters("list").output
    assert queue.health().depth == 2


def test_an_id_that_is_no_letter_is_said_and_is_1(letters, ids):
    result = letters("drop", ids[0], "0" * 32)
    assert result.exit_code == 1
    assert "1 forgotten" in result.output
    assert "1 of 2 are no dead letters" in result.output


@pytest.mark.parametrize("words", [["retry"], ["drop", "--all", "0" * 32]], ids=["none", "both"])
def test_which_letters_must_be_said(letters, words):
    result = letters(*words)
    assert result.exit_code == 2
    assert "which letters" in result.output
    assert "--all" in result.output


def test_the_queue_of_the_stack_that_runs_is_found_from_its_folder(queue, ids, fake_model, tmp_path):
    folder = tmp_path / "runs" / "serve"
    with take_lock(folder):
        me = Child.of(os.getpid())
        StackState(READY, me, "http://127.0.0.1:4711", queue.server.url, {}).write(folder)
        StackSettings(**fake_model, queue=queue.name).write(folder / "settings.json")
        keep_broker(folder, queue.url)
        result = CliRunner().invoke(main, ["serve", "dead-letters", "list"])
    assert result.stdout.count("ValueError") == len(ids)


def test_without_a_stack_and_a_url_the_next_step_is_said(fake_model):
    result = CliRunner().invoke(main, ["serve", "dead-letters", "list"])
    assert result.exit_code == 2
    assert "no service runs here" in result.output
    assert "--broker" in result.output
