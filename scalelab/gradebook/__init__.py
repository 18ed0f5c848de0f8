"""What becomes of grades: gradebooks for course systems, feedback for students, a picture of the class."""

from scalelab.core.lazy import export

__all__ = ["safe_cell"]

__getattr__ = export(__name__, {"table_cells": ["safe_cell"]})
