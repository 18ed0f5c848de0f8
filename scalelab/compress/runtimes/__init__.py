"""One `predict` over several runtimes: torch eager, torch.compile, ONNX Runtime and OpenVINO.

No runtime is imported before a session of it is opened: a worker with an ONNX file never loads torch.
"""

from scalelab.core.lazy import export

__all__ = [
    "CPU_PROVIDER",
    "IMAGE_SHAPE",
    "LOGITS_SHAPE",
    "RUNTIMES",
    "Session",
    "check_images",
    "compiled_session",
    "onnx_session",
    "open_session",
    "openvino_session",
    "pin_service",
    "torch_session",
]

__getattr__ = export(
    __name__,
    {
        "face": ["IMAGE_SHAPE", "LOGITS_SHAPE", "Session", "check_images"],
        "opening": ["RUNTIMES", "open_session", "pin_service"],
        "eager": ["torch_session"],
        "compiled": ["compiled_session"],
        "onnxrt": ["CPU_PROVIDER", "onnx_session"],
        "intel": ["openvino_session"],
    },
)
