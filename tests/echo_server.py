"""A server on loopback that repeats whatever it was sent, keys and all, in answers and in errors.

Belongs here: the worst that a provider or a platform can do with a secret. Does not belong here: tests.
"""

import base64
import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from tests.loopback import Loopback

# By it one finds what the server said, where secrets should stand beside it.
MARK = "repeated-by-the-server"


class EchoServer(Loopback):
    """Use as a context manager.

    Attributes:
        status: of every answer from now on, but for lists of what is there: nothing is.
    """

    def __init__(self) -> None:
        self.status = 200
        self.seen: list[str] = []
        super().__init__(_handler(self))

    def base_url(self, provider: str) -> str:
        return f"{self.url}/{provider}"

    def answer(self, method: str, path: str, headers: Any, sent: bytes) -> tuple[int, bytes]:
        told = " ".join(f"{name}: {value}" for name, value in headers.items())
        basic = headers.get("Authorization", "").removeprefix("Basic ")
        if basic != headers.get("Authorization", ""):
            told += " " + base64.b64decode(basic).decode()
        said = f"{MARK} {unquote(path)} {told} {sent.decode('utf-8', 'replace')}"
        self.seen.append(said)
        if method == "GET" and "/wp-json/" in path:
            return 200, b"[]"
        body = {**_shape(path, said), **({} if self.status < 400 else _refusal(said))}
        return self.status, json.dumps(body).encode()


def _refusal(said: str) -> dict[str, Any]:
    return {"error": {"message": said, "type": "x", "error_msg": said}, "message": said, "errors": [{"detail": said}]}


def _shape(path: str, said: str) -> dict[str, Any]:
    """As much of the answer that is asked for as lets it be taken for one."""
    if path.endswith("/chat/completions"):
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        return {"id": said, "model": said, "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}
    if path.endswith("/messages"):
        usage = {"input_tokens": 9, "output_tokens": 9}
        content = [{"type": "text", "text": said}]
        return {"id": said, "type": "message", "model": said, "content": content, "usage": usage}
    if "/user/by/username" in path:
        return {"user": {"pk": "7"}, "told": said}
    return {"response": {"items": [], "told": said}, "told": said}


def _handler(echo: EchoServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = echo.answer(self.command, self.path, self.headers, sent)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Request-Id", self.headers.get("Authorization", "none"))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None: ...

    return Handler
