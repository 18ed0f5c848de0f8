"""Errors, units, statistics, records, machine facts and child processes: what everything else stands on.

Import the module that you need (``from scalelab.core import stats``); this package loads nothing by itself.
"""
