"""A term with a class: hand out, collect, grade, export, from one ``course.toml``."""

__all__ = []
