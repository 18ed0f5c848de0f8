"""Numbers of fewer bits: integers with a scale, half precision, and the size from which int8 pays.

Each name is loaded when it is first used.
"""

from scalelab.core.lazy import export

__all__ = [
    "Affine",
    "HalfReport",
    "WidthRow",
    "affine_from_range",
    "affine_of",
    "calibrate",
    "integer_matmul",
    "rounding_noise",
    "signal_to_noise_db",
    "smallest_that_pays",
    "store_half",
    "sweep_widths",
]

__getattr__ = export(
    __name__,
    {
        "affine": [
            "Affine",
            "affine_from_range",
            "affine_of",
            "calibrate",
            "integer_matmul",
            "rounding_noise",
            "signal_to_noise_db",
        ],
        "threshold": ["WidthRow", "smallest_that_pays", "sweep_widths"],
        "half": ["HalfReport", "store_half"],
    },
)
