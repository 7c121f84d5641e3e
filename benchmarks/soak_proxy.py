"""A door before a server on loopback that can be slammed, blocked or made slow, for the soak.

Belongs here: passing bytes on, and the ways in which a network or a store in front of it fails. Does not belong here:
when that is done (`soak_faults.py`), servers (`soak_site.py`).
"""

import socket
import threading
import time
from contextlib import suppress
from typing import Literal, Self

Mode = Literal["open", "refused", "unavailable", "slow"]
# Each piece that a client sends waits so long; a request of a Delta commit is one or two pieces.
SLOW_S = 1.0
PIECE = 64 * 1024
UNAVAILABLE = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Door:
    """Listens on a port of its own for a server's; use as a context manager.

    Args:
        target: port of the server, on 127.0.0.1.
    """

    def __init__(self, target: int) -> None:
        self.target, self.mode = target, "open"
        self._lock = threading.Lock()
        self._pairs: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self.port = self._listen(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def turn(self, mode: Mode) -> None:
        """Behave so from now on; connections there are end, so that nobody goes on by an old one."""
        was, self.mode = self.mode, mode
        if mode == "refused":
            self._shut()
        elif was == "refused":
            self._listen(self.port)
        with self._lock:
            open_now = list(self._pairs)
        for one in open_now:
            _end(one)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shut()
        self.turn("refused")

    def _listen(self, port: int) -> int:
        listening = socket.create_server(("127.0.0.1", port), backlog=128)
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        return int(listening.getsockname()[1])

    def _shut(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            # Closing alone leaves a thread that waits in accept, and with it the port.
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.mode == "unavailable":
            with suppress(OSError):
                client.recv(PIECE)
                client.sendall(UNAVAILABLE)
            _end(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            _end(client)
            return
        with self._lock:
            self._pairs |= {client, server}
        back = threading.Thread(target=self._pass, args=(server, client, False), daemon=True)
        back.start()
        self._pass(client, server, True)
        back.join()
        with self._lock:
            self._pairs -= {client, server}
        client.close()
        server.close()

    def _pass(self, source: socket.socket, sink: socket.socket, asked: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE):
                if asked and self.mode == "slow":
                    time.sleep(SLOW_S)
                sink.sendall(piece)
        _end(source)
        _end(sink)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
