"""The journal on disk: what is read after a crash, what is dropped, what is kept."""

import errno
import os

import pytest

from scalelab.serve.local import journal as journals
from scalelab.serve.local.journal import HEADER, Journal


def written(folder, bodies, **options):
    journal = Journal(folder, "x", **options)
    assert list(journal.replay()) == []
    for number, body in enumerate(bodies, 1):
        journal.append(number, 5.0, [body[:3], body[3:]], items=1)
    journal.close()
    return sorted(folder.glob("*.log"))


def read(folder, **options):
    journal = Journal(folder, "x", **options)
    return [bytes(record.body) for record in journal.replay()], journal


def test_records_come_back_in_order_with_their_time(tmp_path):
    bodies = [b"first", b"", os.urandom(5000)]
    written(tmp_path, bodies)
    journal = Journal(tmp_path, "x")
    records = list(journal.replay())
    assert [bytes(record.body) for record in records] == bodies
    assert [(record.number, record.at_s) for record in records] == [(1, 5.0), (2, 5.0), (3, 5.0)]


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_a_last_record_damaged_at_any_byte_is_cut_and_hurts_no_other(tmp_path, damage):
    (path,) = written(tmp_path, [b"one", b"two", b"the last"])
    whole = path.read_bytes()
    start = len(whole) - HEADER.size - len(b"the last")
    for at in range(start, len(whole)):
        wrong = whole[:at] if damage == "torn" else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        path.write_bytes(wrong)
        bodies, journal = read(tmp_path)
        assert bodies == [b"one", b"two"]
        assert path.stat().st_size == start
        journal.append(9, 6.0, [b"after"])
        journal.close()
        assert read(tmp_path)[0] == [b"one", b"two", b"after"]
        for newer in sorted(tmp_path.glob("*.log"))[1:]:
            newer.unlink()


def test_a_file_of_zeros_holds_nothing(tmp_path):
    (tmp_path / "x-00000001.log").write_bytes(bytes(4096))
    assert read(tmp_path)[0] == []


def test_damage_before_the_end_keeps_what_cannot_be_read(tmp_path):
    paths = written(tmp_path, [b"aaaa", b"bbbb", b"cccc", b"dddd"], segment_bytes=50)
    assert len(paths) == 2
    whole = bytearray(paths[0].read_bytes())
    whole[-1] ^= 1
    paths[0].write_bytes(whole)
    assert read(tmp_path)[0] == [b"aaaa", b"cccc", b"dddd"]
    assert paths[0].with_suffix(".damaged").read_bytes() == whole[len(whole) // 2 :]


def test_a_segment_goes_when_all_in_it_is_over_and_the_next_has_begun(tmp_path):
    journal = Journal(tmp_path, "x", segment_bytes=50)
    segments = [journal.append(number, 0.0, [b"body"], items=1) for number in range(1, 6)]
    assert segments == [1, 1, 2, 2, 3]
    for segment in (1, 2, 2, 3):
        journal.release(segment)
    journal.sync()
    journal.sweep()
    assert [path.name[-5] for path in sorted(tmp_path.glob("*.log"))] == ["1", "3"]
    journal.release(1)
    journal.sweep(before=2)
    assert journal.oldest() == 1
    journal.sweep(before=3)
    assert journal.oldest() == 5
    journal.close()


def test_a_record_that_does_not_fit_leaves_no_trace(tmp_path, monkeypatch):
    journal = Journal(tmp_path, "x")
    journal.append(1, 0.0, [b"fits"])

    def write_half(fd, data):
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(fd, bytes(data)[:100])

    real_write = os.write
    monkeypatch.setattr(journals.os, "write", write_half)
    with pytest.raises(OSError, match="No space left"):
        journal.append(2, 0.0, [bytes(150)])
    monkeypatch.undo()
    journal.append(3, 0.0, [b"fits again"])
    journal.close()
    assert read(tmp_path)[0] == [b"fits", b"fits again"]
