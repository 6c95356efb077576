"""A repository of the Hugging Face hub (or of HF_ENDPOINT).

Files are sent one by one and become visible together, with one commit at the end: a cut connection leaves the
repository as it was. The server keeps what arrived, so the same command sends only the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.client import responses
from pathlib import Path
from typing import Any, NoReturn

from qwen_shared.errors import Stopped, UserError, first_line
from qwen_shared.files import disk_problem
from qwen_shared.log import say
from qwen_shared.publish.card import CARD
from qwen_shared.publish.files import CERTIFICATE, CHECKSUMS, files_of, is_certificate, read_checksums, sha256
from qwen_shared.publish.target import refuse_newer

_NEW_REPOSITORY = {".gitattributes", CARD}  # files that a repository made by hand may start with
_DENIED = (401, 403)


@dataclass(frozen=True)
class Repository:
    name: str
    head: str | None = None  # commit; None: the repository does not exist yet
    published: dict[str, str] = field(default_factory=dict)  # file → sha256 of what we published there before


def find_repository(name: str, identity: dict[str, Any], replace: bool) -> Repository:
    """Raises UserError if it holds something newer, something that is not ours, or an edited card."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    try:
        # Without a token a private repository looks like none; this fails then.
        api.whoami()
        info = api.model_info(name)
    except RepositoryNotFoundError:
        return Repository(name)
    except Exception as error:
        _explain(name, error)
    files = {sibling.rfilename for sibling in info.siblings or []}
    where = f"hf://{name}"
    if CERTIFICATE not in files:
        if (foreign := sorted(files - _NEW_REPOSITORY)) and not replace:
            raise UserError(
                f"{where}: holds something that was not published here ({foreign[0]}); choose another name, or "
                "--replace overwrites files of the same names"
            )
        return Repository(name, info.sha)
    try:
        old = json.loads(_fetch(name, info.sha, CERTIFICATE).read_bytes())
        sums = (
            read_checksums(_fetch(name, info.sha, CHECKSUMS).read_text(encoding="utf-8")) if CHECKSUMS in files else {}
        )
        card = sha256(_fetch(name, info.sha, CARD)) if CARD in files and CARD in sums else sums.get(CARD)
    except (ValueError, KeyError) as error:
        raise UserError(f"{where}: its {CERTIFICATE} is damaged ({error}); choose another name") from None
    refuse_newer(where, old if is_certificate(old) else None, identity, replace)
    if card != sums.get(CARD) and not replace:
        raise UserError(f"{where}: its {CARD} was edited there after it was published; --replace overwrites it")
    return Repository(name, info.sha, sums)


def upload(repository: Repository, directory: Path, title: str) -> str:
    """Returns the commit's address. Raises Stopped if the connection breaks, UserError if the server refuses."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api, name = HfApi(), repository.name
    paths = {str(path.relative_to(directory)): path for path in files_of(directory)}
    try:
        if repository.head is None:
            api.create_repo(name, exist_ok=True)
        additions = [CommitOperationAdd(at, path) for at, path in paths.items()]
        for number, addition in enumerate(additions, start=1):
            size = addition.upload_info.size
            say(f"sending {number} of {len(additions)}: {addition.path_in_repo}, {size:,} bytes")
            api.preupload_lfs_files(name, [addition], free_memory=False)
        gone = [CommitOperationDelete(at) for at in repository.published if at not in paths]
        commit = api.create_commit(
            name, [*additions, *gone], commit_message=f"Publish {title}", parent_commit=repository.head
        )
    except Exception as error:
        _explain(name, error, sending=True)
    return commit.commit_url


def _fetch(name: str, revision: str | None, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except Exception as error:
        _explain(name, error)


def _explain(name: str, error: Exception, sending: bool = False) -> NoReturn:
    """Raises UserError for what the user must mend, Stopped for what may work when tried again."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    if isinstance(error, LocalTokenNotFoundError):
        raise UserError(f"hf://{name}: no token; `hf auth login` keeps one, or set HF_TOKEN") from None
    if isinstance(error, OSError) and (problem := disk_problem(error, Path())):
        raise UserError(f"{error.filename or 'the cache of the hub'}: {problem}") from None
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HfHubHTTPError):
        cause = cause.__cause__
    if cause is not None and cause.response is not None:
        status = cause.response.status_code
        if status in _DENIED:
            raise UserError(f"hf://{name}: not allowed ({status}); HF_TOKEN needs the right to write there") from None
        if status == 412:
            raise UserError(f"hf://{name}: somebody else committed meanwhile; run the same command again") from None
        reason = " ".join(filter(None, (str(status), responses.get(status))))
        if message := cause.server_message:
            reason += f": {next(iter(message.strip().splitlines()), '')}"
        if 400 <= status < 500 and status != 429:
            raise UserError(f"hf://{name}: refused ({reason})") from None
        what = f"the server answered {reason}"
    else:
        inner = error.__cause__ or error
        what = f"the connection broke ({first_line(inner)})"
    left = "nothing is visible there yet, what arrived is kept" if sending else "nothing was sent"
    raise Stopped(
        f"hf://{name}: {what}; {left}, and the same command {'continues' if sending else 'tries again'}"
    ) from error
