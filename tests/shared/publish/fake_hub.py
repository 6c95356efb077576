"""As much of the Hugging Face hub as publishing calls, over HTTP on this machine, and what it was asked.

Large files come as the LFS protocol has it; a connection can be cut in the middle of one.
"""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_test"


@dataclass
class Repo:
    head: str = "0" * 40
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


class FakeHub:
    """`repos` by name, `blobs` by sha256, `requests` as (method, path). `cut` is how many more uploads break off."""

    def __init__(self):
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.cut = 0
        self.refuse: int | None = None  # the status of every commit
        self.fail: int | None = None  # that of every question about a repository
        self.reason = "refused"  # said with either
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sent(self) -> list[str]:
        """sha256 of the large files whose sending began."""
        return [path.rpartition("/")[2] for method, path in self.requests if method == "PUT"]

    # ---- what the endpoints do

    def create(self, asked: dict) -> tuple[int, dict]:
        name = f"{asked['organization']}/{asked['name']}"
        self.repos.setdefault(name, Repo())
        return 200, {"url": f"{self.url}/{name}", "name": name, "id": name}

    def info(self, name: str) -> tuple[int, dict]:
        if self.fail:
            return self.fail, {"error": self.reason}
        if name not in self.repos:
            return 404, {"error": "Repository not found"}
        repo = self.repos[name]
        return 200, {"id": name, "sha": repo.head, "siblings": [{"rfilename": file} for file in sorted(repo.files)]}

    def preupload(self, name: str, asked: dict) -> tuple[int, dict]:
        """How each file is to come, and the hash of what is there under its name."""
        answers = []
        for path in (file["path"] for file in asked["files"]):
            large = path.endswith((".safetensors", ".tiktoken", "tokenizer.json"))
            answer = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if (there := self.repos[name].files.get(path)) is not None:
                blob = b"blob %d\0" % len(there) + there
                answer["oid"] = hashlib.sha256(there).hexdigest() if large else hashlib.sha1(blob).hexdigest()
            answers.append(answer)
        return 200, {"files": answers}

    def batch(self, asked: dict) -> tuple[int, dict]:
        objects = []
        for wanted in asked["objects"]:
            found = dict(wanted)
            if wanted["oid"] not in self.blobs:
                found["actions"] = {"upload": {"href": f"{self.url}/blobs/{wanted['oid']}"}}
            objects.append(found)
        return 200, {"transfer": "basic", "objects": objects}

    def commit(self, name: str, lines: list[dict]) -> tuple[int, dict]:
        if self.refuse:
            return self.refuse, {"error": self.reason}
        repo, header = self.repos[name], lines[0]["value"]
        if header.get("parentCommit", repo.head) != repo.head:
            return 412, {"error": "the branch has moved"}
        files = dict(repo.files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repo.files, repo.messages = files, [*repo.messages, header["summary"]]
        repo.head = hashlib.sha1(repr((repo.head, sorted(files.items()))).encode()).hexdigest()
        return 200, {"commitUrl": f"{self.url}/{name}/commit/{repo.head}", "commitOid": repo.head}


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            path = self._asked()
            if path == "/api/whoami-v2":
                allowed = self.headers.get("authorization") == f"Bearer {TOKEN}"
                self._answer(*((200, {"name": "tester", "type": "user"}) if allowed else (401, {"error": "who?"})))
            elif "/resolve/" in path:
                self._file(path)
            else:
                name = path.removeprefix("/api/models/").partition("/revision/")[0]
                self._answer(*hub.info(name))

        do_HEAD = do_GET

        def do_POST(self):
            path, body = self._asked(), self.rfile.read(int(self.headers.get("content-length", 0)))
            if path == "/api/repos/create":
                self._answer(*hub.create(json.loads(body)))
            elif path == "/api/validate-yaml":
                self._answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in path:
                name = path.removeprefix("/api/models/").partition("/preupload/")[0]
                self._answer(*hub.preupload(name, json.loads(body)))
            elif path.endswith("/info/lfs/objects/batch"):
                self._answer(*hub.batch(json.loads(body)))
            elif "/commit/" in path:
                name = path.removeprefix("/api/models/").partition("/commit/")[0]
                self._answer(*hub.commit(name, [json.loads(line) for line in body.splitlines()]))
            else:
                self._answer(404, {"error": path})

        def do_PUT(self):
            digest, size = self._asked().rpartition("/")[2], int(self.headers["content-length"])
            if hub.cut:
                hub.cut -= 1
                self.rfile.read(size // 2)
                self.close_connection = True
                self.connection.close()
                return
            content = self.rfile.read(size)
            assert hashlib.sha256(content).hexdigest() == digest
            hub.blobs[digest] = content
            self._answer(200, {})

        def _file(self, path: str) -> None:
            name, _, rest = path[1:].partition("/resolve/")
            file = rest.partition("/")[2]
            content = hub.repos[name].files.get(file)
            if content is None:
                self._answer(404, {"error": file})
                return
            etag = hashlib.sha1(content).hexdigest()
            self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": hub.repos[name].head})

        def _asked(self) -> str:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path))
            return path

        def _answer(self, status: int, value: dict) -> None:
            headers = {"X-Error-Code": "RepoNotFound"} if status == 404 and "Repository" in str(value) else {}
            self._send(status, json.dumps(value).encode(), headers | {"Content-Type": "application/json"})

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler
