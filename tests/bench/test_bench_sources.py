from scalelab.authoring.render import benchmark_sources, render_script


def test_every_benchmark_notebook_is_what_its_source_gives():
    sources = benchmark_sources()
    assert sources
    stale = [s.name for s in sources if s.with_suffix(".ipynb").read_bytes() != render_script(s)]
    assert not stale, "run `scalelab bench build`"


def test_a_notebook_is_the_same_bytes_at_every_build(tmp_path):
    source = tmp_path / "n.py"
    source.write_text("# %% [markdown]\n# hello\n\n# %%\n1 + 1\n")
    assert render_script(source) == render_script(source)
    assert b'"outputs": []' in render_script(source)
