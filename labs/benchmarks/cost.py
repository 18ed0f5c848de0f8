# %% [markdown]
# # What a million predictions cost
# A rate is measured here, with as many cores as the rented machines have; the price of an hour comes from the
# price book, with its source and its date. An estimate: a rented vCPU is not a core of this machine.

# %% tags=["parameters"]
model: str = "reader.onnx"  # a file among the artifacts
vcpus: int = 2  # sessions of one thread that run at once; instances with as many are priced
batch: int = 32  # images of one call
windows: int = 7  # that the rate is counted in (an interval needs 6)
window_s: float = 0.5  # length of one [s]
utilisation: float = 1.0  # share of the measured rate that is really asked for
instance: str = "aws.c5.large"  # row of the price book whose cost is compared from run to run
gst: bool = False  # with India's 18 % GST
artifacts: str = ""  # folder shared by the points; empty: runs/lab/artifacts, then the demo's
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
import time
from concurrent.futures import ThreadPoolExecutor

from scalelab.bench import artifacts_folder, claim, latency_metrics, need_artifact, write_record
from scalelab.classroom.figures import plot_bars
from scalelab.compress import onnx_session
from scalelab.core.machine import usable_cores
from scalelab.core.records import metric
from scalelab.core.stats import estimate_median, measure
from scalelab.cost import cost_per_million, load_price_book
from scalelab.data import compose_pins

path = need_artifact(artifacts_folder(artifacts), model, made_by="shipped_reader.ipynb")
images = compose_pins(batch, "test", seed=1).images
sessions = [onnx_session(path, threads=1) for _ in range(vcpus)]

# %% [markdown]
# ## The rate of all cores at once
# One core alone would promise too much: together they share caches, memory and the processor's heat.


# %%
def count_until(session, deadline_s: float) -> int:
    calls = 0
    while time.perf_counter() < deadline_s:
        session.predict(images)
        calls += 1
    return calls


def rate_of_window(pool: ThreadPoolExecutor) -> float:
    started_s = time.perf_counter()
    calls = sum(pool.map(count_until, sessions, [started_s + window_s] * vcpus))
    return calls * batch / (time.perf_counter() - started_s)


with ThreadPoolExecutor(vcpus) as pool:
    rate_of_window(pool)  # warm-up
    rates = [rate_of_window(pool) for _ in range(windows)]
single_s = measure(lambda: sessions[0].predict(images[:1]), min_iterations=100, min_duration_s=0.5)
rate = estimate_median(rates)
print(f"{rate} images a second with {vcpus} cores of {usable_cores()}, {windows} windows of {window_s:g} s")

# %% [markdown]
# ## The same rate at every price of the book

# %%
book = load_price_book()


def priced(name: str, kind: str, at_rate: float, currency: str) -> float:
    given = {"kind": kind, "utilisation": utilisation, "gst": gst, "book": book}
    return cost_per_million(at_rate, name, currency=currency, **given).amount


table = []
for offer in book.instances.values():
    if offer.vcpus == vcpus:
        for kind in ("on-demand", *(["spot"] if offer.spot else [])):
            price = offer.price(kind)
            table.append(
                {
                    "offer": f"{offer.name}, {kind}",
                    "an hour": f"{price.amount:g} {price.currency}, {price.region}",
                    "rupees a million": float(f"{priced(offer.name, kind, rate.median, 'INR'):.3g}"),
                    "dollars a million": float(f"{priced(offer.name, kind, rate.median, 'USD'):.3g}"),
                    "source": f"{price.source.title}, {price.source.date}",
                }
            )
for row in table:
    print(*row.values(), sep=" | ")
print(f"{book.inr_per_usd:.4f} rupees a dollar: {book.inr_source.title}, {book.inr_source.date}")

# %%
plot_bars(
    sorted(table, key=lambda row: row["rupees a million"]), "offer", ["rupees a million"],
    y_title="rupees a million", title=f"{model} at {rate.median:,.0f} images a second",
)  # fmt: skip

# %%
cheapest = min(table, key=lambda row: row["rupees a million"])
header = "| offer | an hour | ₹ a million | $ a million | source, date |\n|---|---|---|---|---|"
write_record(
    record_path,
    "cost",
    parameters={"model": model, "vcpus": vcpus, "batch": batch, "utilisation": utilisation, "gst": gst},
    metrics=[
        metric("throughput", "1/s", rates),
        *latency_metrics(single_s),
        metric("latency", "s", single_s),
        metric("usd_per_million", "USD", [priced(instance, "on-demand", one, "USD") for one in rates]),
        metric("inr_per_million", "INR", [priced(instance, "on-demand", one, "INR") for one in rates]),
        metric("inr_per_million_cheapest", "INR", cheapest["rupees a million"]),
        metric("model_bytes", "B", path.stat().st_size),
    ],
    notes={
        "throughput_of": f"predictions, batch {batch}, {vcpus} cores",
        "claims": [
            claim(
                f"the machine has the {vcpus} cores that are priced",
                usable_cores() >= vcpus,
                f"{usable_cores()} cores",
            )
        ],
        "table": "\n".join([header, *("| " + " | ".join(map(str, row.values())) + " |" for row in table)]),
        "exchange": f"{book.inr_per_usd:.4f} INR/USD, {book.inr_source.title}, {book.inr_source.date}",
        "bought": f"a million for {cheapest['rupees a million']:.3g} rupees on {cheapest['offer']}",
        "method": f"{vcpus} sessions of one thread at once, {windows} windows of {window_s:g} s; the price "
        f"of an hour over the predictions of an hour at {utilisation:.0%} of that rate"
        + (f", {book.gst_share:.0%} GST included" if gst else ", without tax"),
    },
)
