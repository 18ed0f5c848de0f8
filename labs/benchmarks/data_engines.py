# %% [markdown]
# # Data engines: one question, several answers' prices
# 336,776 real flights, a join, a group by airline and month. pandas, Polars, DuckDB, Dask and, where it is
# installed, Spark answer the same question on the same file, each in a process of its own, in turn. First the
# proof that they all give what a plain loop over the lines gives; then what each took in time and memory.

# %% tags=["parameters"]
engines: str = "pandas,polars,duckdb,dask,spark"  # in this order, then backwards; the first is the unit
copies: int = 10  # of the year's flights, one after the other: 8.9 MB each
turns: int = 6  # visits to each engine (an interval needs 6)
threads: int = 2  # for each engine that can use them
memory_mib: int = 0  # limit on the resident memory of an engine [MiB]; 0: none
limit_s: float = 120.0  # an engine that takes longer is asked no more [s]
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
import statistics
import sys
import tempfile
from pathlib import Path

from scalelab.bench import claim, write_record
from scalelab.classroom.figures import plot_bars
from scalelab.core.paths import shipped
from scalelab.core.records import metric
from scalelab.core.units import MIB
from scalelab.data import write_flights

sys.path.insert(0, str(shipped("benchmarks")))

from engines.question import answer
from engines.turns import choose, ratio, take_turns

chosen, absent = choose(engines.split(","))
for name, why in absent.items():
    print(f"without {name}: {why}")

# %% [markdown]
# ## The answer of a plain loop
# Copies multiply every count and sum, and leave the number of different places as it is: the slow loop reads
# one copy only.

# %%
with tempfile.TemporaryDirectory() as made:
    once = answer(*write_flights(Path(made)))
expected = [row._replace(**{name: copies * getattr(row, name) for name in row._fields[2:-1]}) for row in once]
expected[:3]

# %% [markdown]
# ## The engines in turn

# %%
with tempfile.TemporaryDirectory() as made:
    files = write_flights(Path(made), copies=copies)
    csv_bytes = files.flights.stat().st_size
    seen = take_turns(
        chosen,
        files,
        rounds=turns,
        threads=threads,
        memory_bytes=memory_mib * MIB if memory_mib else None,
        timeout_s=limit_s,
    )
answered = {name: one for name, one in seen.items() if one.answers}
ended = {name: one for name, one in answered.items() if not one.problem}
unit, *others = chosen
speedups = {name: ratio(seen[unit], seen[name]) for name in others if {unit, name} <= ended.keys()}
table = [
    {
        "engine": name,
        "question [s]": round(statistics.median(one.query_s), 3),
        "whole process [s]": round(statistics.median(one.total_s), 3),
        "memory [MiB]": round(statistics.median(one.peak_bytes) / MIB),
    }
    for name, one in ended.items()
]
for row in table:
    print(
        row,
        f"{unit} takes {speedups[row['engine']].ratio} times as long" if row["engine"] in speedups else "",
    )

# %%
plot_bars(
    table, "engine", ["question [s]", "whole process [s]"], y_title="seconds",
    title=f"{csv_bytes / 1e6:.0f} MB, {threads} threads: median of {turns} rounds",
)  # fmt: skip

# %%
plot_bars(table, "engine", ["memory [MiB]"], y_title="MiB", title="Largest resident memory")

# %%
claims = [
    claim(
        f"{name} gives the answer of the plain loop, in every round",
        all(rows == expected for rows in one.answers),
        f"{len(expected)} rows of 5 whole numbers, rounds: {len(one.answers)}",
    )
    for name, one in answered.items()
]
fastest = min(table, key=lambda row: row["question [s]"])["engine"] if table else ""
smallest = min(table, key=lambda row: row["memory [MiB]"])["engine"] if table else ""
problems = {name: one.problem for name, one in seen.items() if one.problem}
write_record(
    record_path,
    "data_engines",
    parameters={"engines": engines, "copies": copies, "threads": threads, "memory_mib": memory_mib},
    metrics=[
        *(metric(f"query_time_{name}", "s", one.query_s) for name, one in ended.items()),
        *(metric(f"process_time_{name}", "s", one.total_s) for name, one in ended.items()),
        *(metric(f"memory_{name}", "B", one.peak_bytes) for name, one in ended.items()),
        *(metric(f"speedup_{name}", "1", found.ratio.median) for name, found in speedups.items()),
        metric("engines_within_limits", "1", len(ended)),
    ],
    notes={
        "claims": claims,
        "absent": absent,
        "csv_bytes": csv_bytes,
        "broke_a_limit": problems,
        "bought": f"{fastest} answered first, {smallest} needed the least memory"
        + (f" ({unit} takes {speedups[fastest].ratio} times as long)" if fastest in speedups else "")
        + "".join(f"; {name} broke its limit" for name in problems),
        "method": f"each engine in a process of its own with {threads} threads, {turns} interleaved rounds; "
        "the question goes from CSV to rows, the import is apart; memory is the process's high-water mark "
        "where there is one, or what samples of its tree show, if that is more; real flights, the year "
        f"{copies} times",
        "quiet": all(found.is_quiet for found in speedups.values()),
    },
)
