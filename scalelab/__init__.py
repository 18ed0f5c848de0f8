"""ScaleLab: take one model from a notebook to a service, and measure what every step buys.

Nothing heavy is imported here: each subpackage loads what it needs at the moment of use.
"""

import os

from scalelab.core.lazy import export

# ONNX Runtime keeps usage events and a device id in the home folder unless told not to before its import;
# child processes inherit this. Set it to 0 to allow them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Lab"]

__version__ = "0.1.0"

__getattr__ = export(__name__, {"classroom": ["Lab"]})
