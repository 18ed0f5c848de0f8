"""Generator processes start from one zero, or not at all."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from scalelab.loadtest.process import meet, write


def test_all_who_meet_get_the_same_start(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        starts = list(pool.map(lambda part: meet(tmp_path, part, 3), range(3)))
    latest_s = max(float((tmp_path / f"ready.{part}").read_text()) for part in range(3))
    assert set(starts) == {starts[0]}
    assert starts[0] > latest_s


def test_one_alone_starts_at_once(tmp_path):
    assert meet(tmp_path, 0, 1) == float((tmp_path / "ready.0").read_text())


def test_who_never_comes_is_not_waited_for_for_ever(tmp_path):
    with pytest.raises(TimeoutError, match="of 2 generators"):
        meet(tmp_path, 0, 2, limit_s=0.05)


def test_a_file_is_whole_or_not_there(tmp_path):
    write(tmp_path / "result.0", "all of it")
    assert [path.name for path in tmp_path.iterdir()] == ["result.0"]
