"""Images of handwritten PIN codes, put together from real digits and PIN codes that exist; text for the GPT;
real flights for data engines.

numpy and the standard library only; each name is loaded when it is first used.
"""

from scalelab.core.lazy import export

__all__ = [
    "ALPHABET",
    "SPLITS",
    "Augmentation",
    "DataFile",
    "Digits",
    "FlightFiles",
    "Office",
    "PinDirectory",
    "PinImages",
    "Text",
    "compose_pins",
    "contact_sheet",
    "load_digits",
    "load_pins",
    "load_text",
    "read_manifest",
    "read_verified",
    "split_indices",
    "to_png",
    "verify_all",
    "write_flights",
]

__getattr__ = export(
    __name__,
    {
        "augment": ["Augmentation"],
        "compose": ["PinImages", "compose_pins"],
        "digits": ["SPLITS", "Digits", "load_digits", "split_indices"],
        "files": ["DataFile", "read_manifest", "read_verified", "verify_all"],
        "flights": ["FlightFiles", "write_flights"],
        "picture": ["contact_sheet", "to_png"],
        "pins": ["Office", "PinDirectory", "load_pins"],
        "text": ["ALPHABET", "Text", "load_text"],
    },
)
