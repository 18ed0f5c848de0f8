from scalelab.bench.sources import benchmark_sources, build_notebook


def test_every_benchmark_notebook_is_what_its_source_gives():
    sources = benchmark_sources()
    assert sources
    stale = [
        s.name for s in sources if s.with_suffix(".ipynb").read_text(encoding="utf-8") != build_notebook(s)
    ]
    assert not stale, "run `scalelab bench build`"


def test_a_notebook_is_the_same_bytes_at_every_build(tmp_path):
    source = tmp_path / "n.py"
    source.write_text("# %% [markdown]\n# hello\n\n# %%\n1 + 1\n")
    assert build_notebook(source) == build_notebook(source)
    assert '"outputs": []' in build_notebook(source)
