"""A real transformer: MiniLM, which turns sentences into vectors, as ONNX and int8; and what int8 changes.

Each name is loaded when it is first used.
"""

from scalelab.core.lazy import export

__all__ = [
    "Agreement",
    "EncoderFile",
    "TextSession",
    "Tokens",
    "agreement",
    "export_encoder",
    "load_encoder",
    "quantize_encoder",
    "sentences",
    "text_session",
    "tokenize",
]

__getattr__ = export(
    __name__,
    {
        "encoder": ["load_encoder"],
        "tokens": ["Tokens", "sentences", "tokenize"],
        "recipes": ["EncoderFile", "export_encoder", "quantize_encoder"],
        "text_sessions": ["TextSession", "text_session"],
        "neighbours": ["Agreement", "agreement"],
    },
    extra="minilm",
)
