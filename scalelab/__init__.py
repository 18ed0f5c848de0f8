"""ScaleLab: take one model from a notebook to a service, and measure what every step buys.

Nothing heavy is imported here: each subpackage loads what it needs at the moment of use.
"""

from scalelab.core.lazy import export

__all__ = ["Lab"]

__version__ = "0.1.0"

__getattr__ = export(__name__, {"classroom": ["Lab"]})
