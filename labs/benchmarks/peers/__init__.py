"""Our service beside others on the same models, bodies and minute: drivers of each, rounds, table."""
