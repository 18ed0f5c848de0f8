"""Data parallel training taken apart: ring all-reduce, buckets, sampler, an injected link, compression.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = [
    "BucketedModel",
    "InjectedWire",
    "Link",
    "ShardedSampler",
    "TopK",
    "Wire",
    "fit_link",
    "parallel_step",
    "plan_buckets",
    "ring_all_reduce",
    "run_in_memory",
    "run_in_threads",
]

__getattr__ = export(
    __name__,
    {
        "buckets": ["BucketedModel", "plan_buckets"],
        "exchange": ["TopK"],
        "link": ["InjectedWire", "Link", "fit_link"],
        "memory": ["run_in_memory"],
        "ring": ["ring_all_reduce"],
        "sampler": ["ShardedSampler"],
        "step": ["parallel_step"],
        "wire": ["Wire", "run_in_threads"],
    },
    extra="torch",
)
