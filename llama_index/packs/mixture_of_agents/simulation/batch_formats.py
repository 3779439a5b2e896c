"""The formats of OpenAI's and Mistral's batches, files and answers.

Sources: OpenAI's API reference (files, batches, the batch output object), Mistral's (files, batch jobs), and the error
texts that users report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .conversation import Json

if TYPE_CHECKING:
    from .batch_service import Batch, Ending, StoredFile

CHAT = "/v1/chat/completions"
DAY = 86_400.0


class OpenAIFormat:
    """https://platform.openai.com/docs/api-reference/batch."""

    batches = "/v1/batches"
    files = "/v1/files"
    states: ClassVar[dict[Ending, str]] = {
        "queued": "validating",
        "running": "in_progress",
        "answered": "completed",
        "expired": "expired",
        "cancelled": "cancelled",
        "failed": "failed",
    }

    def model_and_body(self, row: Json, request: Json) -> tuple[str, Json]:
        """The model and the body of a line of the input file."""
        del request
        return str(row["body"].get("model")), row["body"]

    def window(self, request: Json) -> float:
        """The number of seconds that a batch may take."""
        del request
        return DAY

    def input_file(self, request: Json) -> str:
        """The id of the input file."""
        return str(request["input_file_id"])

    def batch(self, batch: Batch) -> Json:
        """A batch."""
        answered, refused = batch.counts
        errors = [{"code": batch.code, "message": batch.problem, "line": None, "param": None}]
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": CHAT,
            "errors": {"object": "list", "data": errors} if batch.problem else None,
            "input_file_id": batch.file,
            "completion_window": "24h",
            "status": self.states[batch.state],
            "output_file_id": batch.output_file,
            "error_file_id": batch.error_file,
            "created_at": int(batch.created),
            "expires_at": int(batch.created + batch.window),
            "request_counts": {
                "total": len(batch.rows),
                "completed": answered,
                "failed": refused,
            },
            "metadata": batch.metadata,
        }

    def listed(self, batches: list[Batch], more: bool) -> Json:
        """A page of batches."""
        return {"object": "list", "data": [self.batch(one) for one in batches], "has_more": more}

    def file(self, file: StoredFile) -> Json:
        """A file."""
        size = len(file.content)
        return {
            "id": file.id,
            "object": "file",
            "bytes": size,
            "purpose": "batch",
            "filename": file.name,
        }

    def line(self, number: int, name: str, status: int, body: Json) -> Json:
        """A line of an output or error file."""
        response = {"status_code": status, "request_id": f"req-{number}", "body": body}
        return {"id": f"batch_req_{number}", "custom_id": name, "response": response, "error": None}

    def undone(self, number: int, name: str, ending: Ending) -> Json:
        """A line of the error file for a request that was not executed."""
        messages = {
            "expired": "This request could not be executed before the completion window expired.",
            "cancelled": "This request was not executed, since the batch was cancelled.",
        }
        error = {"code": f"batch_{ending}", "message": messages[ending]}
        return {"id": f"batch_req_{number}", "custom_id": name, "response": None, "error": error}


class MistralFormat(OpenAIFormat):
    """https://docs.mistral.ai/api/#tag/batch."""

    batches = "/mistral/v1/batch/jobs"
    files = "/mistral/v1/files"
    states: ClassVar[dict[Ending, str]] = {
        "queued": "QUEUED",
        "running": "RUNNING",
        "answered": "SUCCESS",
        "expired": "TIMEOUT_EXCEEDED",
        "cancelled": "CANCELLED",
        "failed": "FAILED",
    }

    def model_and_body(self, row: Json, request: Json) -> tuple[str, Json]:
        model = str(request.get("model") or row["body"].get("model"))
        return model, {**row["body"], "model": model}

    def window(self, request: Json) -> float:
        return float(request.get("timeout_hours") or 24) * 3600

    def input_file(self, request: Json) -> str:
        return str(request["input_files"][0])

    def batch(self, batch: Batch) -> Json:
        answered, refused = batch.counts
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": CHAT,
            "model": batch.model,
            "errors": [{"message": batch.problem, "count": 1}] if batch.problem else [],
            "input_files": [batch.file],
            "status": self.states[batch.state],
            "output_file": batch.output_file,
            "error_file": batch.error_file,
            "created_at": int(batch.created),
            "total_requests": len(batch.rows),
            "completed_requests": answered + refused,
            "succeeded_requests": answered,
            "failed_requests": refused,
            "metadata": batch.metadata,
        }

    def listed(self, batches: list[Batch], more: bool) -> Json:
        del more
        data = [self.batch(one) for one in batches]
        return {"object": "list", "data": data, "total": len(data)}
