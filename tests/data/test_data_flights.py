import csv

import pytest

from scalelab.core.errors import ConfigError
from scalelab.data import write_flights


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    return write_flights(tmp_path_factory.mktemp("flights"), copies=2)


def test_copies_repeat_the_year_under_one_header(twice):
    header, *rows = twice.flights.read_text().splitlines()
    assert header == "month,day,carrier,origin,dest,dep_delay,arr_delay,distance"
    assert len(rows) == 2 * 336_776
    assert rows[:336_776] == rows[336_776:]


def test_every_airline_has_a_name_and_flights(twice):
    with twice.airlines.open(newline="") as file:
        names = {row["carrier"]: row["name"] for row in csv.DictReader(file)}
    with twice.flights.open(newline="") as file:
        assert {row["carrier"] for row in csv.DictReader(file)} == set(names)
    assert all(names.values())


def test_no_copy_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="0 copies"):
        write_flights(tmp_path, copies=0)
