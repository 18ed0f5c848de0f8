"""`scalelab load` as a user and a script see it."""

import json

import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.machine import free_port
from scalelab.core.records import RecordStore


@pytest.fixture
def run(tmp_path):
    env = {"COLUMNS": "120", "SCALELAB_RUNS": str(tmp_path)}
    return lambda *words: CliRunner().invoke(main, ["load", *words], env=env)


@pytest.fixture(scope="module")
def slow_url(serve):
    with serve("--service-ms", "5") as address:
        yield address


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--url", "http://127.0.0.1:1", "--method", "GET", "--rate", "0"), 2, "a rate of 0.0"),
        (("run", "--url", "http://127.0.0.1:1", "--method", "GET", "--users", "0"), 2, "0 users"),
        (("run", "--url", "http://127.0.0.1:1", "--rate", "5", "--users", "5"), 2, "give one of them"),
        (("run", "--url", "127.0.0.1:80", "--method", "GET"), 2, "no address of a service"),
        (("run", "--url", "http://h", "--header", "X"), 2, "'X' is no header"),
        (("knee", "--url", "http://h", "--method", "GET", "--budget", "1"), 2, "budget of 1.0"),
        (("burst", "--url", "http://h", "--method", "GET", "--rate", "-1"), 2, "a rate of -1.0"),
        (("run", "--url", "http://h", "--method", "GET", "--arrivals", "poison:5"), 2, "mean 'poisson'?"),
        (("run", "--url", "http://h", "--method", "GET", "--arrivals", "step"), 2, "step:100..500/5x10s"),
        (("run", "--url", "http://h", "--rate", "5", "--arrivals", "step:1..2/2x1s"), 2, "leave out --rate"),
        (("run", "--url", "http://h", "--users", "5", "--arrivals", "poisson:2/1s"), 2, "two kinds of load"),
        (("run", "--url", "http://h", "--duration", "5", "--arrivals", "poisson:2/1s"), 2, "--duration"),
        (("run", "--url", "http://h", "--processes", "many"), 2, "--processes many"),
        (("run", "--url", "http://h", "--body", "nowhere.png"), 2, "nowhere.png"),
        (("run", "--url", "http://h", "--method", "GET", "--web"), 2, "give --rate or --arrivals"),
        (("compare", "http://h", "file.jsonl", "--rate", "5"), 2, "an address and a file"),
        (("compare", "http://h", "http://i"), 2, "give it: --rate 100"),
        (("compare", "a.jsonl", "b.jsonl"), 2, "a.jsonl holds no open-loop run"),
        (("compare", "a", "b", "--fail-over", "much"), 2, "write 10% or 0.1"),
        (("run",), 4, "scalelab serve up --detach; or name another: --url http://"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_call_ends_with_its_code_and_the_value(run, words, code, said):
    shown = run(*words)
    assert (shown.exit_code, said in shown.stderr) == (code, True), shown.output


def test_a_service_that_is_not_there_ends_with_4(run):
    shown = run("run", "--url", f"http://127.0.0.1:{free_port()}", "--method", "GET")
    assert shown.exit_code == 4
    assert "nothing answers at" in shown.stderr


QUICK = ("--path", "/ok", "--method", "GET", "--duration", "1", "--warmup", "0.2")


@pytest.mark.slow
def test_an_objective_sets_the_exit_code_and_the_run_is_kept(run, slow_url, tmp_path):
    words = ("run", "--url", slow_url, *QUICK, "--rate", "60", "--json", "--no-closed", "--processes", "1")
    kept = run(*words, "--slo-p95-ms", "9000", "--record", str(tmp_path / "runs.jsonl"),
               "--hgrm", str(tmp_path / "run.hgrm"))  # fmt: skip
    missed = run(*words, "--slo-p95-ms", "1")
    assert "p95 < 1 ms with at most 1 % errors: p95 " in missed.stderr
    found = json.loads(kept.stdout)
    assert (kept.exit_code, found["verdict"]) == (0, "PASS"), kept.output
    # a generator that the machine held up tells nothing about the service
    assert (missed.exit_code, json.loads(missed.stdout)["verdict"]) in [(5, "FAIL"), (6, "INCONCLUSIVE")]
    assert found["latency"]["n"] == found["ok"] > 20
    assert found["goodput_per_s"] == pytest.approx(found["ok"])
    (record,) = RecordStore(tmp_path / "runs.jsonl").read()
    assert record.metric("goodput").values[0] == pytest.approx(found["goodput_per_s"])
    assert record.parameters["rate_per_s"] == 60
    assert "1/(1-Percentile)" in (tmp_path / "run.hgrm").read_text()


@pytest.mark.slow
def test_a_shaped_load_shows_its_parts_and_the_closed_loop_beside_it(run, url):
    shown = run("run", "--url", url, "--path", "/ok", "--method", "GET", "--arrivals", "step:20..60/2x1s",
                "--warmup", "0.2", "--processes", "1")  # fmt: skip
    assert shown.exit_code == 0, shown.output
    for words in ("from the intended send", "closed loop, 1 users", "Little's law", "the 2 parts"):
        assert words in shown.stdout


@pytest.mark.slow
def test_the_table_shows_unit_and_n(run, url):
    shown = run("burst", "--url", url, "--path", "/tasks", "--rate", "50", "--duration", "1")
    assert shown.exit_code == 0
    assert "time to answer p50, ms (n = " in shown.stdout


@pytest.mark.slow
def test_a_lost_answer_ends_with_5(run, url):
    shown = run("burst", "--url", url, "--path", "/tasks/lost", "--rate", "20", "--duration", "1",
                "--collect-timeout", "0.3", "--json")  # fmt: skip
    assert shown.exit_code == 5
    assert json.loads(shown.stdout)["lost"] > 0


@pytest.mark.slow
def test_the_knee_of_a_five_millisecond_server_lies_below_its_capacity(run, slow_url, tmp_path):
    shown = run(
        "knee",
        "--url",
        slow_url,
        "--path",
        "/ok",
        "--method",
        "GET",
        "--budget",
        "13",
        "--window",
        "1",
        "--json",
        "--processes",
        "1",
        "--record",
        str(tmp_path / "knee.jsonl"),
    )
    found = json.loads(shown.stdout)
    assert shown.exit_code in (0, 5)
    assert 0 < found["rate_per_s"] < 200  # one request at a time, 5 ms each
    assert len(found["points"]) >= 2
    (record,) = RecordStore(tmp_path / "knee.jsonl").read()
    assert record.metric("knee_rate").values == (found["rate_per_s"],)


@pytest.mark.slow
def test_the_wrong_path_is_said_before_a_search(run, url):
    shown = run("knee", "--url", url, "--path", "/status/404", "--method", "GET")
    assert shown.exit_code == 4
    assert "answers 404 to a single request" in shown.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/to/elsewhere", "answers 307: go to /elsewhere"),
        ("/status/404", "answers 404 to a single request"),
        ("/drop", "got no answer"),
        ("/never", "got no answer: timed out"),
    ],
)
def test_what_a_run_cannot_measure_is_said_before_it(run, url, path, said):
    shown = run("run", "--url", url, "--path", path, "--method", "GET", "--rate", "5", "--timeout", "0.5")
    assert (shown.exit_code, said in shown.stderr) == (4, True), shown.output


@pytest.mark.slow
def test_a_rate_without_one_request_is_said(run, url):
    shown = run("run", "--url", url, *QUICK, "--rate", "0.0001")
    assert (shown.exit_code, "no request at all" in shown.stderr) == (2, True), shown.output
