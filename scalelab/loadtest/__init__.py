"""Load on a running service: closed loop, open loop of any shape, the knee, two services in turn, a burst.

Latency of an open loop counts from the *intended* send time: a server that freezes for a second makes every
request of that second late, and a generator that politely waits with it would hide that
("coordinated omission"). The load comes from locust in a process of its own. MLPerf LoadGen, which is not
ours, measures the same beside it (`loadtest.judge`).
"""

from scalelab.core.lazy import export

__all__ = [
    "Agreement",
    "BurstResult",
    "Knee",
    "KneePoint",
    "LatencyHistogram",
    "LoadResult",
    "LoadgenResult",
    "ModelPlan",
    "Profile",
    "ServicePlan",
    "Target",
    "find_knee",
    "parse_profile",
    "run_burst",
    "run_closed",
    "run_loadgen",
    "run_open",
    "run_profile",
]

__getattr__ = export(
    __name__,
    {
        "latency": ["LatencyHistogram"],
        "profile": ["Profile", "parse_profile"],
        "results": ["BurstResult", "LoadResult"],
        "knee": ["Knee", "KneePoint", "find_knee"],
        "target": ["Target"],
        "loadgen": ["LoadgenResult", "ModelPlan", "ServicePlan", "run_loadgen"],
        "judge": ["Agreement"],
        "driver": ["run_burst", "run_closed", "run_open", "run_profile"],
    },
)
