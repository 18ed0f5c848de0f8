"""The ground of the hostile runs sees what it looks for: controls that must be found."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("only on Linux: hostile submissions run in namespaces", allow_module_level=True)

import hostile_ground as ground
import hostile_watch


def watched(folder, command: str) -> dict:
    """Return what the keeper reports of a shell command."""
    (folder / "tmp").mkdir()
    plan = {
        "command": ["sh", "-c", command], "user": 0, "limit_s": 20, "folder": str(folder),
        "report": str(folder / "report"), "environment": {**os.environ, "TMPDIR": str(folder / "tmp")},
    }  # fmt: skip
    (folder / "plan").write_text(json.dumps(plan))
    subprocess.run([*ground.wrap(), sys.executable, hostile_watch.__file__, str(folder / "plan")], check=True)
    return json.loads((folder / "report").read_text())


@pytest.mark.slow
@pytest.mark.skipif(not ground.wrap(), reason="no namespaces may be made here")
class TestKeeper:
    def test_a_process_that_outlives_the_grader_is_seen(self, tmp_path):
        found = watched(tmp_path, "sleep 30 > /dev/null 2>&1 &")
        assert any("sleep" in each for each in found["left"]), found

    def test_a_file_and_a_mount_that_stay_are_seen(self, tmp_path):
        found = watched(tmp_path, 'touch "$TMPDIR/x"; mount -t tmpfs none /srv')
        assert {each.split()[0] for each in found["left"]} == {"temporary", "mount"}, found

    def test_a_clean_command_leaves_nothing(self, tmp_path):
        found = watched(tmp_path, "echo done; sleep 0.1 &\nwait")
        assert (found["exit"], found["said"], found["left"]) == (0, "done\n", [])


def test_a_mark_in_any_output_is_a_leak(tmp_path):
    (tmp_path / "feedback").mkdir()
    (tmp_path / "feedback" / "mira.html").write_text("her file says CANARY_FILE, he said CANARY_NOTHING")
    assert ground._leaks(tmp_path, "warning: CANARY_ENV") == [
        "output: CANARY_ENV",
        "feedback/mira.html: ...her file says CANARY_FILE",
    ]


@pytest.mark.parametrize(
    ("name", "text", "is_found"),
    [
        ("page.html", "<p><script>window.PWNED=1</script></p>", True),
        ("page.html", "<p><img src=x onerror=PWNED=1></p>", True),
        ("page.html", "<p>&lt;script&gt;window.PWNED=1&lt;/script&gt;</p>", False),
        ("table.csv", 'student,points\n"=h-formula+cmd",0\n', True),
        ("table.csv", "student,points\n'=h-formula+cmd,0\n", False),
    ],
)
def test_scripts_and_formulas_are_seen_where_they_would_run(tmp_path, name, text, is_found):
    (tmp_path / name).write_text(text)
    assert bool(ground._injected(tmp_path)) is is_found
