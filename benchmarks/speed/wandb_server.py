"""A stand-in for a W&B server, for tests and measurements: what the client of this version asks, and no more.

It keeps what it receives (runs, the lines of their files, uploaded files, artifacts), answers as the
server does, and refuses requests, operations, variables and keys that it does not know; what it refused is
listed, so that a test can ask for none. It can be told to hang, to die and to come back.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote

KEY = "local0" + "0123456789abcdef" * 5
"""The only API key that it takes, 86 characters."""

OWNER = "owner"
"""Whom the key belongs to."""

Json = dict[str, Any]


@dataclass
class StoredRun:
    """What the server has of one run.

    Args:
        fields: group, job type, tags, name …, as they were last sent.
        config: values by name.
        lines: lines of each streamed file; a line that is sent again takes the place of the first.
        exit_code: how it ended; None while it goes on.
        completions: how often its end was announced.
    """

    fields: Json = field(default_factory=dict)
    config: Json = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    exit_code: int | None = None
    completions: int = 0

    @property
    def history(self) -> list[Json]:
        """The rows that were logged, in order."""
        return [json.loads(line) for line in self.lines.get("wandb-history.jsonl", [])]

    @property
    def summary(self) -> Json:
        """The last summary."""
        lines = self.lines.get("wandb-summary.json", [])
        return dict(json.loads(lines[-1])) if lines else {}


class RefusedError(Exception):
    """A request that the stand-in does not know."""


class StandIn:
    """A server on a free port of this machine; a context manager.

    Args:
        hang: whether it takes connections and never answers.
    """

    def __init__(self, *, hang: bool = False) -> None:
        self.runs: dict[str, StoredRun] = {}
        self.files: dict[str, bytes] = {}
        self.artifacts: dict[str, Json] = {}
        self.refused: list[str] = []
        self.requests = 0
        self.hanging = threading.Event()
        if hang:
            self.hanging.set()
        self.dead = threading.Event()
        self.lock = threading.Lock()
        self._listen(0)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _listen(self, port: int) -> None:
        handler = type("Handler", (_Handler,), {"server_state": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.dead.is_set():
            self.die()

    def die(self) -> None:
        """Refuse what comes from now on, also on connections that are open."""
        self.dead.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def revive(self) -> None:
        """Listen again where it did before, and know what it knew."""
        self.dead.clear()
        self._listen(self._server.server_address[1])
        self._thread.start()

    def take(self, method: str, path: str, body: bytes) -> Json:
        """Take a request and return the answer; hang first, if so told."""
        while self.hanging.is_set() and not self.dead.is_set():
            self.dead.wait(0.05)
        with self.lock:
            self.requests += 1
            if (method, path) == ("GET", "/"):
                return {}
            if (method, path) == ("POST", "/graphql"):
                return self._graphql(json.loads(body))
            parts = path.strip("/").split("/")
            if method == "POST" and len(parts) == 5 and (parts[0], parts[4]) == ("files", "file_stream"):
                return self._stream(parts[3], json.loads(body))
            if method == "PUT" and parts[0] == "storage":
                self.files["/".join(parts[1:])] = body
                return {}
            raise RefusedError(f"{method} {path}")

    def _stream(self, run: str, body: Json) -> Json:
        known = {"files", "complete", "exitcode", "uploaded", "preempting", "dropped"}
        if run not in self.runs or set(body) - known:
            raise RefusedError(f"file_stream of {run}: {sorted(body)}")
        stored = self.runs[run]
        for name, chunk in body.get("files", {}).items():
            kept = stored.lines.setdefault(name, [])
            at = chunk["offset"]
            if name != "wandb-summary.json" and at > len(kept):
                raise RefusedError(f"{name} of {run}: offset {at} after {len(kept)} lines")
            kept[at : at + len(chunk["content"])] = chunk["content"]
        if body.get("complete"):
            stored.exit_code, stored.completions = body["exitcode"], stored.completions + 1
        return {}

    def _graphql(self, body: Json) -> Json:
        operations: dict[str, Callable[[Json], Json]] = {
            "ServerFeaturesQuery": lambda v: {"serverInfo": {"features": []}},
            "Viewer": lambda v: {"viewer": {"id": "viewer", "entity": OWNER, "username": OWNER}},
            "UpsertBucket": self._upsert,
            "CreateRunFiles": self._run_files,
            "CreateArtifact": self._artifact,
            "CreateArtifactManifest": self._manifest,
            "UpdateArtifactManifest": self._manifest,
            "CreateArtifactFiles": self._artifact_files,
            "CommitArtifact": self._commit,
        }
        name = body.get("operationName")
        if name not in operations:
            raise RefusedError(f"operation {name}")
        try:
            return {"data": operations[name](body.get("variables") or {})}
        except KeyError as error:
            raise RefusedError(f"{name} without {error}") from None

    def _upsert(self, v: Json) -> Json:
        stored = self.runs.get(v["name"])
        inserted = stored is None
        if stored is None or stored.exit_code is not None:  # an ended run that begins again is replaced
            stored = self.runs[v["name"]] = StoredRun()
        kept = ("project", "entity", "groupName", "jobType", "tags", "displayName", "sweep")
        stored.fields |= {name: v[name] for name in kept if v.get(name) is not None}
        if v.get("config"):
            values = json.loads(v["config"])
            stored.config |= {name: item["value"] for name, item in values.items() if name != "_wandb"}
        owner = {"id": "entity", "name": v.get("entity") or OWNER}
        bucket = {
            "id": f"id-{v['name']}",
            "name": v["name"],
            "displayName": stored.fields.get("displayName", v["name"]),
            "description": "",
            "config": v["config"],
            "sweepName": stored.fields.get("sweep"),
            "project": {"id": "project", "name": v["project"], "entity": owner},
            "historyLineCount": 0,
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _run_files(self, v: Json) -> Json:
        files = [{"name": f, "uploadUrl": f"{self.url}/storage/{v['run']}/{f}"} for f in v["files"]]
        return {"createRunFiles": {"runID": f"id-{v['run']}", "uploadHeaders": [], "files": files}}

    def _artifact(self, v: Json) -> Json:
        given = v["input"]
        name = given["artifactCollectionName"]
        self.artifacts[name] = {"type": given["artifactTypeName"], "run": given["runName"], "files": []}
        sequence = {"latestArtifact": None}
        return {
            "createArtifact": {"artifact": {"id": name, "state": "PENDING", "artifactSequence": sequence}}
        }

    def _manifest(self, v: Json) -> Json:
        (name, answer) = (
            ("createArtifactManifest", v["artifactID"])
            if "artifactID" in v
            else ("updateArtifactManifest", v["artifactManifestID"])
        )
        url = f"{self.url}/storage/artifacts/{answer}/{v.get('name') or 'wandb_manifest.json'}"
        file = {"id": "file", "uploadUrl": url, "uploadHeaders": []}
        return {name: {"artifactManifest": {"id": answer, "file": file}}}

    def _artifact_files(self, v: Json) -> Json:
        edges = []
        for given in v["input"]["artifactFiles"]:
            artifact, name = given["artifactID"], given["name"]
            self.artifacts[artifact]["files"].append(name)
            node: Json = {
                "storagePath": f"artifacts/{artifact}/{name}",
                "uploadUrl": f"{self.url}/storage/artifacts/{artifact}/{name}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": artifact},
            }
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _commit(self, v: Json) -> Json:
        self.artifacts[v["artifactID"]]["committed"] = True
        return {"commitArtifact": {"artifact": {"id": v["artifactID"], "digest": "digest"}}}


class _Server(ThreadingHTTPServer):
    """Many at once, and no word about those who leave before they are answered."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that was killed is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, checks the key, and hands it to the stand-in."""

    server_state: StandIn
    protocol_version = "HTTP/1.1"

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        state = self.server_state
        if state.dead.is_set():
            self.close_connection = True
            return
        try:
            if self.path != "/" and not self.path.startswith("/storage/"):  # those are keys themselves
                self._check_key()
            answer, status = state.take(self.command, unquote(self.path), body), 200
        except RefusedError as refusal:
            state.refused.append(str(refusal))
            answer, status = {"errors": [{"message": f"unknown: {refusal}"}]}, 400
        except PermissionError:
            state.refused.append(f"{self.command} {self.path} without the key")
            answer, status = {"errors": [{"message": "permission denied"}]}, 401
        content = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # who asked has gone
            self.close_connection = True

    do_GET = do_POST = do_PUT = _take  # noqa: N815 - the base class's names

    def _check_key(self) -> None:
        kind, _, given = self.headers.get("authorization", "").partition(" ")
        if kind != "Basic" or base64.b64decode(given).decode() != f"api:{KEY}":
            raise PermissionError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
