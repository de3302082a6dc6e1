"""Count of the requests in progress, so that background work can wait for them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Busy:
    """Counts the requests that an application is working on."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def counted(self, application: WSGIApplication) -> WSGIApplication:
        """Return the application with its requests counted until it returns their responses."""

        def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            self._add(1)
            try:
                return application(environ, start_response)
            finally:
                self._add(-1)

        return answer

    def wait(self, seconds: float) -> bool:
        """Wait until no request is in progress, with a timeout; return whether there is none."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, seconds)

    def _add(self, count: int) -> None:
        with self._changed:
            self._count += count
            self._changed.notify_all()
