"""Downloads of weights into the user's cache: checked, and whole or not at all at their path."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
from filelock import FileLock

from desra.errors import InputError

logger = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Folder for downloaded weights: ``$DESRA_CACHE``, or ``desra`` in the user's cache folder.

    On Linux that is ``$XDG_CACHE_HOME/desra`` or ``~/.cache/desra``. It is made when something is
    downloaded.

    Example:
        >>> os.environ["DESRA_CACHE"] = "weights"
        >>> cache_dir()
        PosixPath('weights')
        >>> del os.environ["DESRA_CACHE"]
    """
    folder = os.environ.get("DESRA_CACHE") or platformdirs.user_cache_dir("desra", appauthor=False)
    return Path(folder).expanduser()


def fetch(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    progress: bool = True,
    timeout: float = 20.0,
) -> Path:
    """Have the right file at ``path``, downloading it if it is not there.

    Of several processes that want one file, one downloads and the others wait for it. A file placed
    at ``path`` by hand is used.

    Args:
        url: an ``http`` or ``https`` address; proxies are taken from the environment.
        path: the final path; folders are made as needed.
        sha256: the SHA-256 of the file, or the first 8 or more of its hexadecimal digits. None
            checks nothing.
        progress: show a progress bar on stderr where that is a terminal.
        timeout: seconds to wait for a connection or for the next bytes.

    Returns:
        ``path``, expanded.

    Raises:
        InputError: no network and no file, an address that does not answer with a file, a wrong
            checksum, or a folder that cannot be written.
    """
    path = Path(path).expanduser()
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url}: not an http or https address; for a local file give its path")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{8,64}", sha256):
        raise ValueError(f"{sha256!r} is not 8 to 64 hexadecimal digits of a SHA-256")
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(f".{path.name}.lock")):
                if not path.is_file():
                    _download(url, path, sha256, progress and sys.stderr.isatty(), timeout)
                    return path
        if problem := _wrong_checksum(path, sha256):
            raise InputError(f"{path}: {problem}; delete it to have it downloaded again")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free the space, or set "
            "DESRA_CACHE to a folder that can be written"
        ) from error
    return path


def _download(url: str, path: Path, sha256: str | None, progress: bool, timeout: float) -> None:
    import requests  # here, since most runs download nothing
    from pooch import HTTPDownloader

    part = path.with_name(f"{path.name}.part")
    logger.info("downloading %s to %s", url, path)
    try:
        HTTPDownloader(progressbar=progress, timeout=timeout)(url, str(part), None)
        if problem := _wrong_checksum(part, sha256):
            raise InputError(
                f"{url}: the downloaded file was removed, as its {problem}; try again, or put the "
                f"right file at {path}"
            )
        os.replace(part, path)
    except requests.RequestException as error:
        raise InputError(
            f"{path.name} cannot be downloaded from {url} ({_reason(error)}); download it where "
            f"that works and put it at {path}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """One line about a failed request; the library's own names its classes and objects."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy of the environment cannot be reached"
    for told, reason in (
        ("resolve", "no network, or no such host"),
        ("refused", "connection refused"),
        ("unreachable", "no network"),
        ("IncompleteRead", "the connection broke off"),
    ):
        if told in str(error):
            return reason
    return str(error) or type(error).__name__


def _wrong_checksum(path: Path, sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return None if digest.startswith(sha256.lower()) else f"SHA-256 is {digest}, not {sha256}"
