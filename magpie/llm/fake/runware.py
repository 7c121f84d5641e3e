"""Runware's API as the fake provider speaks it: tasks in an array, answers in `data`, failures in `errors`.

Belongs here: its wire format, and the memory of what was answered to which task. Does not belong here: the connection
(`handler.py`), the pictures (`answers.py`).
"""

import base64
import threading
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from magpie.llm.fake import answers
from magpie.llm.fake.apis import Address, Asked, Wrong
from magpie.llm.fake.replies import Made
from magpie.llm.money import to_usd
from magpie.llm.reply import Usage

MAKE, LOOK = "imageInference", "getTaskDetails"
FORMATS = {"WEBP": "webp", "PNG": "png", "JPG": "jpeg"}
FIELDS = """
taskType taskUUID model positivePrompt negativePrompt width height numberResults outputType outputFormat includeCost
seed steps CFGScale scheduler checkNSFW deliveryMethod
"""
LEAST_SIDE, MOST_SIDE, SIDE_STEP = 512, 2048, 64
LEAST_PROMPT, MOST_PROMPT = 2, 2000
# What an image costs where the server has no price of its own.
DEFAULT_USD = Decimal("0.0038")


class Tasks:
    """What was answered to each task; a lost answer is here too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}

    def keep(self, task: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        with self._lock:
            self._answered[str(task.get("taskUUID"))] = task, body

    def details(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a look at an earlier task.

        Raises:
            Wrong: there was none of that id.
        """
        with self._lock:
            found = self._answered.get(str(task.get("taskUUID")))
        if found is None:
            raise Wrong(400, "Task not found.", "taskFailedOrNotFound")
        asked, body = found
        return {"data": [{"taskType": LOOK, "taskUUID": task["taskUUID"], "request": [asked], "response": body}]}

    def clear(self) -> None:
        with self._lock:
            self._answered.clear()


def task_of(body: Any) -> Any:
    """The task of a request with one; what is no such request as it is."""
    return body[0] if isinstance(body, list) and len(body) == 1 else body


def understand(address: Address, task: Any) -> Asked:
    """Check a task as the API would.

    Raises:
        Wrong: it would be refused.
    """
    if not isinstance(task, Mapping):
        raise Wrong(400, "The body must be an array of one task.", "invalidRequest")
    extra = sorted(set(task) - set(FIELDS.split()))
    if extra:
        raise Wrong(400, f"Unsupported parameter '{extra[0]}'.", "unsupportedParameter")
    try:
        well_formed = uuid.UUID(str(task.get("taskUUID"))).version == 4
    except ValueError:
        well_formed = False
    if not well_formed:
        raise Wrong(400, "Invalid value for 'taskUUID': it must be a UUIDv4.", "invalidTaskUUID")
    prompt, model = task.get("positivePrompt"), task.get("model")
    if not isinstance(model, str) or ":" not in model:
        raise Wrong(400, "Invalid value for 'model'.", "invalidModel")
    if not isinstance(prompt, str) or not LEAST_PROMPT <= len(prompt) <= MOST_PROMPT:
        raise Wrong(400, "Invalid value for 'positivePrompt': 2 to 2000 characters.", "invalidPositivePrompt")
    for name in ("width", "height"):
        side = task.get(name)
        if not isinstance(side, int) or not LEAST_SIDE <= side <= MOST_SIDE or side % SIDE_STEP:
            message = f"Invalid value for '{name}': a multiple of 64 from 512 to 2048."
            raise Wrong(400, message, f"invalid{name.title()}")
    told = task.get("outputFormat", "JPG")
    if task.get("numberResults", 1) != 1 or told not in FORMATS:
        raise Wrong(400, "Invalid value for 'numberResults' or 'outputFormat'.", "invalidParameter")
    if answers.declined(prompt):
        raise Wrong(400, "The prompt was declined by the content policy.", "contentPolicyViolation")
    return Asked(address, model, prompt, size=(task["width"], task["height"]), image_format=FORMATS[told])


def reply_to(asked: Asked, task: Mapping[str, Any], billed_nano: int | None) -> Made:
    """The image of a valid task.

    Args:
        billed_nano: what the server charges; None: what it charges unless told otherwise.
    """
    width, height = asked.size or (LEAST_SIDE, LEAST_SIDE)
    seed = task.get("seed", 0)
    content = answers.picture(f"{asked.prompt}#{seed}", width, height, asked.image_format)
    item = {
        "taskType": MAKE,
        "taskUUID": task["taskUUID"],
        "imageUUID": str(uuid.uuid5(uuid.NAMESPACE_OID, task["taskUUID"])),
        "imageBase64Data": base64.b64encode(content).decode(),
        "seed": seed,
    }
    if task.get("includeCost"):
        item["cost"] = float(DEFAULT_USD if billed_nano is None else to_usd(billed_nano))
    return Made({"data": [item]}, Usage(images=1))


def error_body(wrong: Wrong, request_id: str) -> dict[str, Any]:
    """An error as the API words it."""
    word = {401: "invalidApiKey", 402: "insufficientCredits", 429: "rateLimitExceeded"}.get(wrong.status)
    code = wrong.code if wrong.code and "_" not in wrong.code else word or f"error{wrong.status}"
    return {"errors": [{"code": code, "message": wrong.message, "taskType": MAKE, "requestId": request_id}]}
