"""What becomes of grades: gradebooks for course systems, feedback for students, a picture of the class."""

from scalelab.core.lazy import export

__all__ = ["listed_names", "merge_marks", "read_classbook", "write_gradebook"]

__getattr__ = export(
    __name__,
    {
        "classbook": ["listed_names", "read_classbook"],
        "written": ["merge_marks"],
        "writing": ["write_gradebook"],
    },
)
