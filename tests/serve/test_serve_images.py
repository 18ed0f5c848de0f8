"""Building and weighing images, with builders that only pretend."""

import json
import os
import sys

import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.errors import ConfigError, MissingDependency, RunFailed
from scalelab.serve import images
from scalelab.serve.images import Layer, build_image, find_builder, image_layers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="only on systems where a script is a program")
LAYERS = [
    ("/bin/sh -c #(nop) COPY dir:7d35 in /opt/venv", 159_000_000),
    ("COPY /app /app # buildkit", 2_500_000),
    ('/bin/sh -c #(nop) ENTRYPOINT ["python", "-m"]', 0),
    ("RUN useradd x", 1_000),
    ("/bin/sh -c #(nop) ADD file:1 in /", 147_000_000),
]
WANTED = [Layer("packages", 159_000_000), Layer("base image", 147_001_000), Layer("our code", 2_500_000)]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put scripts in place of all programs; return what each was called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, code):
        script = folder / name
        script.write_text(f"#!{sys.executable}\nimport json, os, sys\nlog = {str(tmp_path / name)!r}\n{code}")
        script.chmod(0o755)

    def calls(name):
        return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]

    put.calls = calls
    return put


NOTES = "open(log, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"


def test_a_docker_whose_daemon_is_away_is_passed_over(programs):
    programs("docker", "sys.exit(1)")
    programs("buildah", "sys.exit(0)")
    assert find_builder() == "buildah"
    with pytest.raises(MissingDependency, match="docker does not work here"):
        find_builder("docker")


def test_without_any_builder_the_command_that_brings_one_is_named(programs):
    result = CliRunner().invoke(main, ["serve", "images"])
    assert result.exit_code == 2
    assert "no builder of images works here" in result.output
    assert "apt-get install buildah" in result.output


def test_an_unknown_builder_is_refused_with_those_that_are_known():
    with pytest.raises(ConfigError, match="'kaniko' builds no images"):
        find_builder("kaniko")


def test_a_build_that_fails_shows_its_last_lines(programs, monkeypatch):
    monkeypatch.setattr(images, "_pip_settings", dict)
    programs("buildah", "[print('line', n) for n in range(50)]; sys.exit(125)")
    with pytest.raises(RunFailed, match=r"could not build scalelab-worker:x:\nline 38\n(.|\n)*line 49\n"):
        build_image("worker", builder="buildah", tag="x")


def test_what_pip_is_told_goes_into_the_build_as_secrets_and_what_lies_here_does_not(
    programs, tmp_path, monkeypatch
):
    programs("buildah", NOTES + "secret = [w for w in sys.argv if w.startswith('id=pip_conf')][0]\n"
             "open(log + '.conf', 'w').write(open(secret.partition('src=')[2]).read())")  # fmt: skip
    cert = tmp_path / "ca.pem"
    cert.write_text("a certificate")
    told = {
        "index-url": "https://user:word@pypi.example/simple",
        "extra-index-url": "file:///here",
        "cert": str(cert),
    }
    monkeypatch.setattr(images, "_pip_settings", lambda: told)
    assert build_image("gateway", builder="buildah", base="b", tag="t") == "scalelab-gateway:t"
    (call,) = programs.calls("buildah")
    assert call[call.index("--target") + 1] == "gateway"
    assert "BASE=b" in call
    assert f"id=pip_cert,src={cert}" in call
    assert "word" not in " ".join(call)
    conf = (tmp_path / "buildah.conf").read_text().splitlines()
    assert conf == ["[global]", f"index-url = {told['index-url']}", "cert = /etc/ssl/pip.pem"]


def test_a_pip_that_is_told_nothing_needs_no_secret(programs, monkeypatch):
    programs("podman", NOTES)
    monkeypatch.setattr(images, "_pip_settings", dict)
    build_image("gateway", builder="podman")
    (call,) = programs.calls("podman")
    assert "--secret" not in call


def test_docker_podman_and_buildah_weigh_alike(programs):
    rows = [{"CreatedBy": what, "Size": str(size)} for what, size in LAYERS]
    programs("docker", f"print({chr(10).join(map(json.dumps, rows))!r})")
    rows = [{"CreatedBy": what, "size": size} for what, size in LAYERS]
    programs("podman", f"print({json.dumps(rows)!r})")
    history = [
        {"created_by": what, "empty_layer": True} if not size else {"created_by": what}
        for what, size in LAYERS
    ]
    manifest = json.dumps({"layers": [{"size": size} for _, size in LAYERS if size]})
    facts = {"Manifest": manifest, "OCIv1": {"history": history}}
    programs("buildah", f"print({json.dumps(facts)!r})")
    assert [image_layers("x", builder=name) for name in images.BUILDERS] == [WANTED] * 3


def test_an_image_that_is_not_there_is_an_error(programs):
    programs("podman", "sys.exit('no such image')")
    with pytest.raises(RunFailed, match="no such image"):
        image_layers("x", builder="podman")
