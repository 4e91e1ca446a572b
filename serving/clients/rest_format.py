"""Questions to a server as HTTP requests of TF Serving's REST API, and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from htlnet_tf.serving.clients.bodies import columnar_body, row_body
from htlnet_tf.serving.clients.calls import MetadataOf, Question, ScoresOf
from htlnet_tf.serving.clients.replies import reply_outputs


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Args:
      method: `"GET"` or `"POST"`.
      path: Beginning with `/v1/models/`.
      body: JSON; None for a GET.
    """

    method: str
    path: str
    body: bytes | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What is sent beside the body."""
        return {} if self.body is None else {"Content-Type": "application/json"}


def request_of(question: Question, path: str) -> Request:
    """The request that asks a question.

    Args:
      question: What is asked.
      path: Of the model, such as `"/v1/models/htlnet/labels/stable"`.

    Raises:
      InputError: A text cannot be written as UTF-8.
    """
    if isinstance(question, ScoresOf):
        body = row_body if question.row_format else columnar_body
        return Request("POST", f"{path}:predict", body(question.signature_name, question.columns))
    return Request("GET", f"{path}/metadata" if isinstance(question, MetadataOf) else path)


def answer_of(question: Question, reply: Mapping[str, Any], server: str) -> Any:
    """What a parsed reply answers.

    Args:
      question: What was asked.
      reply: The parsed body.
      server: URL, for messages.

    Raises:
      OtherOutputsError: The outputs are not those of the signature.
    """
    if isinstance(question, ScoresOf):
        return reply_outputs(reply, question.signature, server, row_format=question.row_format)
    return reply
