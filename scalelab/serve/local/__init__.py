"""The local broker: it lives inside the gateway's process, and its journal outlives it.

Nothing is installed or started for it, and it works on Windows too. From the bottom up:

    answers     what is kept of finished tasks, in generations that end together
    table       every task that is not over: where it waits, who holds it. Pure; time is an argument
    journal     records on disk, in segments that are dropped when all in them is over
    ledger      table and journal together: what is said was written before
    frames      what crosses the wire between gateway and workers
    listener    the gateway's end of that wire
    link        the worker's end of it
    gateway_side, worker_side, letters      the sides that `serve.broker` asks for

What is lost. When the process dies (kill -9, out of memory): nothing that was accepted or answered, for the
system holds what was written. When the machine dies (power cut): what was written in the last second or so,
since files are synced to disk every second. A task of that second is forgotten, an answer is made again.
Answers are kept for their time to live; beyond 256 MB of them, the oldest go earlier.
"""
