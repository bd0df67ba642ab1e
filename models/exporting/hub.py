"""Upload of an exported model to Hugging Face, or to a server of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from desra.errors import InputError
from models.exporting.card import CARD


def check_hub(name: str) -> None:
    """Raise InputError where nothing could be uploaded, before any work is done."""
    try:
        from huggingface_hub.utils import HFValidationError, validate_repo_id
    except ImportError as error:
        raise InputError(
            "push_to_hub needs huggingface_hub: pip install 'desra[export]'"
        ) from error
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"push_to_hub={name}: give OWNER/NAME ({error})") from error
    if "/" not in name:
        raise InputError(f"push_to_hub={name}: give OWNER/NAME")


def address(name: str) -> str:
    """The folder on the web that files of a repository are fetched from."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{name}/resolve/main"


def push(name: str, folder: Path, files: Sequence[Path], private: bool) -> str:
    """Upload files, the card as ``README.md``; the repository is made where there is none.

    The address of the server is in the environment (``HF_ENDPOINT``), the token too (``HF_TOKEN``),
    or where ``hf auth login`` left it.

    Returns:
        the commit's address.

    Raises:
        InputError: not allowed, or not reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    operations = [
        CommitOperationAdd(
            "README.md" if path.name == CARD else path.relative_to(folder).as_posix(), str(path)
        )
        for path in files
    ]
    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        done = api.create_commit(name, operations, commit_message=f"Add {folder.name}")
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"push_to_hub={name}: {reason}; the files are in {folder} all the same"
        ) from error
    return str(done.commit_url)
