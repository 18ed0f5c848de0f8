# %% [markdown]
# # Own numbers

# %%
from scalelab import Lab

lab = Lab("41_own_numbers")

# %%
import numpy as np

# %%
waits_ms = lab.variant.rng("waits").exponential(lab.variant.integer("mean", 20, 80), 500)
deadline_ms = lab.variant.integer("deadline", 15, 60)
block_bytes = lab.variant.integer("block", 100, 100_000)

first, place = lab.variant.integer("first", 0, 10**9), lab.variant.integer("place", 1, 998)
log = list(range(first, first + 1000))
match lab.variant.choice("fault", ("lost", "doubled", "swapped")):
    case "lost":
        del log[place]
    case "doubled":
        log.insert(place, log[place])
    case _:
        log[place], log[place + 1] = log[place + 1], log[place]
del place, first

# %% task="late-share"
### BEGIN SOLUTION
mean_late_ms = float(waits_ms[waits_ms > deadline_ms].mean())
### END SOLUTION

# %% check="late-share"
lab.check("late-share")


# %% task="fault"
### BEGIN SOLUTION
_at = int(np.flatnonzero(np.diff(log) != 1)[0])
_kind = {999: "lost", 1001: "doubled"}.get(len(log), "swapped")
fault = (_kind, log[_at] + (_kind != "doubled"))
### END SOLUTION

# %% check="fault"
lab.check("fault")


# %% task="padded"
def padded(count):
    """Return `count` bytes, rounded up to whole blocks of block_bytes."""
    ### BEGIN SOLUTION
    return (count + block_bytes - 1) // block_bytes * block_bytes
    ### END SOLUTION


# %% check="padded"
lab.check("padded")
