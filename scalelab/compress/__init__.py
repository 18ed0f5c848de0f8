"""Compress: the same reader as an ONNX graph, as int8, and behind one `predict`; each measured in pairs.

A serving worker that runs an ONNX file never imports torch.
"""

from scalelab.core.lazy import export

__all__ = [
    "ExportReport",
    "GuardReport",
    "LatencyRow",
    "PinService",
    "QuantizeReport",
    "Recipe",
    "Session",
    "compare_accuracy",
    "compare_latency",
    "export_onnx",
    "guard_accuracy",
    "onnx_session",
    "open_session",
    "pin_service",
    "quantize_openvino",
    "quantize_static",
    "torch_session",
]

__getattr__ = export(
    __name__,
    {
        "export": ["ExportReport", "export_onnx"],
        "quantize": ["QuantizeReport", "Recipe", "quantize_static"],
        "runtimes": ["Session", "onnx_session", "open_session", "pin_service", "torch_session"],
        "openvino_int8": ["quantize_openvino"],
        "guard": ["GuardReport", "guard_accuracy"],
        "service": ["PinService"],
        "compare": ["LatencyRow", "compare_accuracy", "compare_latency"],
    },
)
