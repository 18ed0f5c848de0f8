"""The data engines: one question, the same whole numbers from each, and limits that are findings."""

import importlib
import sys
from pathlib import Path

import pytest

from scalelab.core.errors import ConfigError
from scalelab.core.paths import shipped
from scalelab.data import FlightFiles, write_flights

HEADER = "month,day,carrier,origin,dest,dep_delay,arr_delay,distance"
ODD = [
    "1,1,AA,JFK,MIA,2,16,1089",
    "1,1,AA,JFK,MIA,2,15,1089",  # a quarter of an hour is not more than one
    "1,2,AA,JFK,BOS,,,187",  # never left
    "1,3,AA,JFK,BOS,5,,187",  # left, and never arrived
    "2,1,AA,JFK,LAX,-5,-30,2475",
    "1,1,B6,EWR,BOS,,,200",  # an airline of which nothing arrived
]


@pytest.fixture(autouse=True)
def engines_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(shipped("benchmarks")))


@pytest.fixture
def odd(tmp_path):
    files = FlightFiles(tmp_path / "flights.csv", tmp_path / "airlines.csv")
    files.flights.write_text("\n".join([HEADER, *ODD]) + "\n")
    files.airlines.write_text("carrier,name\nAA,American, or so\nB6,JetBlue\n".replace("n, or", "n or"))
    return files


def test_the_plain_loop_counts_what_the_question_says(odd):
    from engines.question import answer

    assert answer(*odd) == [
        ("American or so", 1, 4, 1, 1, 31, 2),
        ("American or so", 2, 1, 0, 0, -30, 1),
        ("JetBlue", 1, 1, 1, 0, 0, 1),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["pandas", "polars", "duckdb", "dask"])
def test_an_engine_gives_the_plain_loops_numbers_at_the_odd_lines_too(engine, odd):
    from engines.question import answer
    from engines.turns import take_turns

    seen = take_turns([engine], odd, rounds=1, threads=1, memory_bytes=None, timeout_s=120)
    assert seen[engine].problem == ""
    assert seen[engine].answers == [answer(*odd)]


def test_every_engine_has_a_module_that_answers():
    from engines.turns import ENGINES

    folder = Path(shipped("benchmarks")) / "engines"
    assert {module for module, _ in ENGINES.values()} == {path.stem for path in folder.glob("by_*.py")} | {
        "question"
    }
    question = importlib.import_module("engines.question")
    assert callable(question.answer)


def test_an_engine_that_is_not_installed_is_a_note_and_an_unknown_one_an_error(monkeypatch):
    from engines import turns

    monkeypatch.setattr(turns, "is_installed", lambda name: name != "pyspark")
    chosen, absent = turns.choose(["duckdb", "spark"])
    assert chosen == ["duckdb"]
    assert absent == {"spark": "pyspark is not installed"}
    with pytest.raises(ConfigError, match="polar"):
        turns.choose(["polar"])
    with pytest.raises(ConfigError, match="none of spark is installed"):
        turns.choose(["spark"])


def test_the_engines_go_there_and_back(odd, monkeypatch):
    from engines import turns

    order = []
    monkeypatch.setattr(turns, "_ask", lambda seen, *_: (order.append(seen.name), seen.query_s.append(1.0)))
    turns.take_turns(["a", "b", "c"], odd, rounds=3, threads=1, memory_bytes=None, timeout_s=1, say=len)
    assert "".join(order) == "abccbaabc"


@pytest.mark.slow
def test_an_engine_past_its_memory_is_asked_no_more_and_the_others_go_on(tmp_path):
    from engines.turns import take_turns

    files = write_flights(tmp_path, copies=4)
    names = ["python", "pandas"]
    limit = 200 * 2**20  # pandas holds 200 MB of columns and more; the loop holds a line
    seen = take_turns(names, files, rounds=2, threads=1, memory_bytes=limit, timeout_s=240)
    assert "used" in seen["pandas"].problem
    assert "memory" in seen["pandas"].problem
    assert seen["pandas"].answers == []
    assert seen["python"].problem == ""
    assert len(seen["python"].answers) == 2


@pytest.mark.slow
def test_an_engine_that_fails_says_its_last_line(odd):
    from engines.turns import take_turns

    odd.flights.write_text("no,such,columns\n1,2,3\n")
    seen = take_turns(["python"], odd, rounds=1, threads=1, memory_bytes=None, timeout_s=60)
    assert seen["python"].problem == "KeyError: 'carrier'"
    assert sys.executable not in seen["python"].problem
