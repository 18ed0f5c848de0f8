"""FastAPI with the model inside, as its tutorial writes it: ``uvicorn peers.fastapi_app:app --workers N``.

The handler is a plain ``def``: FastAPI runs it in its pool of threads, and the loop stays free to accept.
There is no batching: one request, one run of the model.
"""

from __future__ import annotations

import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, create_model

from peers.workload import Given

given = Given.read()
model = given.warm()
Body: type[BaseModel] = create_model("Body", **{given.workload.field: (list[int], ...)})  # type: ignore[call-overload]
app = FastAPI()


class Answer(BaseModel):
    """What the model says of one item."""

    label: int
    score: float


@app.post("/predict")
def predict(body: Body) -> Answer:  # type: ignore[valid-type]
    """Run the model on one item."""
    try:
        item = given.workload.from_list(getattr(body, given.workload.field))
    except (ValueError, OverflowError) as error:
        raise HTTPException(422, str(error)) from None
    return Answer(**model.predict_batch(np.expand_dims(item, 0))[0])
