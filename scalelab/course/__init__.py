"""A term with a class: hand out, collect, grade, export, from one ``course.toml``."""

from scalelab.core.lazy import export

__all__ = ["Course", "CourseLab", "LatePolicy", "collect", "grade", "hand_out", "load_course", "new_course"]

__getattr__ = export(
    __name__,
    {
        "settings": ["Course", "CourseLab", "load_course"],
        "late": ["LatePolicy"],
        "starting": ["new_course"],
        "handing_out": ["hand_out"],
        "collecting": ["collect"],
        "grading_run": ["grade"],
    },
)
