"""The dashboard's panel "Hyperparameter Importance", with the shares of the report.

Optuna's own would contradict them: it knows nothing of rates that are one parameter, leaves out
what only some trials have, and judges what the sampler hardly varied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lrsearch.analysis.importance import Importance

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ATTRIBUTE = "lrsearch:importance"
"""Attribute of a study with the shares, written with its notes and figures."""
_PATH = re.compile(r"/api/studies/(\d+)/param_importances")


def importances(importance: Importance) -> dict[str, Any]:
    """Return the attribute of a study that `OwnImportances` answers with."""
    shares = [
        {"name": name, "importance": share, "distribution": "FloatDistribution"}
        for name, share in importance.shares
    ]
    return {ATTRIBUTE: shares}


class OwnImportances:
    """A WSGI application that answers for the panel, and passes all other requests on.

    `attributes` reads the attributes of a study by its id; it raises KeyError for one that is not
    there. A study without the attribute, such as one of Optuna alone, is passed on, too.
    """

    def __init__(
        self, application: WSGIApplication, attributes: Callable[[int], Mapping[str, Any]]
    ) -> None:
        self._application = application
        self._attributes = attributes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        shares = None
        if match := _PATH.fullmatch(environ.get("PATH_INFO", "")):
            try:
                shares = self._attributes(int(match[1])).get(ATTRIBUTE)
            except KeyError:
                shares = None
        if shares is None:
            return self._application(environ, start_response)
        body = json.dumps({"param_importances": [shares]}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
