"""What a serving worker answers: PIN, digits, confidence, district and state of every image in a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from scalelab.compress.runtimes import IMAGE_SHAPE, Session

_PLACES = 10 ** np.arange(5, -1, -1)


class PinService:
    """Turns logits into answers that JSON can carry.

    ``confidence`` is the product of the six largest softmax values: the model's own probability that all six
    digits are right, if the digits were independent. It is a score for ranking and thresholds; how often a
    score of 0.9 is right is a matter of calibration, and is measured, not assumed.
    """

    def __init__(self, session: Session):
        from scalelab.data import load_pins

        self.session = session
        self._find = load_pins().find
        # the first call plans memory: not on a request
        session.predict(np.zeros((1, *IMAGE_SHAPE), np.uint8))

    def predict_batch(self, images: np.ndarray) -> list[dict[str, Any]]:
        """Read every image of ``(N, 28, 168) uint8``; a PIN that does not exist has no district or state.

        Raises:
            DataError: another shape or dtype.
        """
        logits = self.session.predict(images)
        digits = logits.argmax(-1)
        # the largest softmax value is exp(0) / sum(exp(logit - largest))
        confidences = (1 / np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)).prod(-1)
        return [
            self._answer(f"{code:06d}", six, confidence)
            for code, six, confidence in zip(
                (digits @ _PLACES).tolist(), digits.tolist(), confidences.tolist(), strict=True
            )
        ]

    def _answer(self, pin: str, digits: list[int], confidence: float) -> dict[str, Any]:
        office = self._find(pin)
        return {
            "pin": pin,
            "digits": digits,
            "confidence": confidence,
            "district": office.district if office else None,
            "state": office.state if office else None,
        }
