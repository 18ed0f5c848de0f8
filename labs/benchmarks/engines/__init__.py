"""One question in five data engines, each in a process of its own, checked against plain Python."""
