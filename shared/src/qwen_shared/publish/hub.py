"""A repository on the Hugging Face hub, or wherever HF_ENDPOINT says that there is one.

Files are sent one after another and become visible together, by one commit at the end: a cut connection leaves the
repository as it was. What arrived is kept by the server, so that the same command sends only the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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

_SERVERS_OWN = {".gitattributes", CARD}  # what a repository may have that was only just made by hand
_DENIED = (401, 403)


@dataclass(frozen=True)
class Repository:
    """As it was found: `head` is None where there is none yet."""

    name: str
    head: str | None = None
    published: dict[str, str] = field(default_factory=dict)  # file and sha256 of what was published there before


def look(name: str, ours: dict[str, Any], replace: bool) -> Repository:
    """The repository, before anything is made for it. Raises UserError where it holds something newer, something that
    was not published here, or a card that was edited there."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    try:
        # Without a token nothing can be written, and a private repository cannot be told from none.
        api.whoami()
        info = api.model_info(name)
    except RepositoryNotFoundError:
        return Repository(name)
    except Exception as error:
        _explain(name, error)
    files = {sibling.rfilename for sibling in info.siblings or []}
    where = f"hf://{name}"
    if CERTIFICATE not in files:
        if (strangers := sorted(files - _SERVERS_OWN)) and not replace:
            raise UserError(
                f"{where}: holds something that was not published here ({strangers[0]}); choose another name, or "
                "--replace overwrites what has the same names"
            )
        return Repository(name, info.sha)
    read = _reader(name, info.sha)
    try:
        theirs = json.loads(read(CERTIFICATE))
        sums = read_checksums(read(CHECKSUMS).decode()) if CHECKSUMS in files else {}
        card = sha256(_fetch(name, info.sha, CARD)) if CARD in files and CARD in sums else sums.get(CARD)
    except (ValueError, KeyError) as error:
        raise UserError(f"{where}: its {CERTIFICATE} is damaged ({error}); choose another name") from None
    refuse_newer(where, theirs if is_certificate(theirs) else None, ours, replace)
    if card != sums.get(CARD) and not replace:
        raise UserError(f"{where}: its {CARD} was edited there since it was published; --replace overwrites that")
    return Repository(name, info.sha, sums)


def upload(repository: Repository, directory: Path, title: str) -> str:
    """Send a directory; returns where it is to be seen.

    Raises Stopped where the connection ends, UserError where the server does not want it.
    """
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


def _reader(name: str, revision: str) -> Callable[[str], bytes]:
    return lambda file: _fetch(name, revision, file).read_bytes()


def _fetch(name: str, revision: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except Exception as error:
        _explain(name, error)


def _explain(name: str, error: Exception, sending: bool = False) -> NoReturn:
    """What went wrong, of a dozen kinds: the user's to mend, or to be tried again."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    if isinstance(error, LocalTokenNotFoundError):
        raise UserError(f"hf://{name}: no token; `hf auth login` keeps one, or set HF_TOKEN") from None
    if isinstance(error, OSError) and (problem := disk_problem(error, Path())):
        raise UserError(f"{error.filename or 'the cache of the hub'}: {problem}") from None
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HfHubHTTPError):
        cause = cause.__cause__
    status = cause.response.status_code if cause is not None and cause.response is not None else None
    if status in _DENIED:
        raise UserError(f"hf://{name}: not allowed ({status}); HF_TOKEN needs the right to write there") from None
    if status == 412:
        raise UserError(f"hf://{name}: somebody else has committed meanwhile; the same command looks again") from None
    if status is not None:
        said = " ".join(filter(None, (str(status), responses.get(status))))
        reason = f"{said}: {_first_line(cause.server_message)}" if cause.server_message else said
        if 400 <= status < 500 and status != 429:
            raise UserError(f"hf://{name}: refused ({reason})") from None
        what = f"the server answered {reason}"
    else:
        inner = error.__cause__ or error
        what = f"the connection ended ({first_line(inner)})"
    left = "nothing is visible there yet, what arrived is kept" if sending else "nothing was sent"
    raise Stopped(
        f"hf://{name}: {what}; {left}, and the same command {'goes on' if sending else 'tries again'}"
    ) from error


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")
