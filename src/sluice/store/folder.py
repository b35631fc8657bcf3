"""The data folder of a node: made where it is missing, and held by one node at a time.

Two nodes on one folder would both play its tasks. The lock is the kernel's (flock), so it ends with the
process, however that ends. The text in the file only tells people who holds it.
"""

import errno
import fcntl
import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluice.store.errors import FolderError

LOCK_NAME = "node.lock"
_LONGEST_HOLDER = 300
_ADVICE = "mend that, or name another folder with --data"


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Holds the folder while the context is open. Raises FolderError if it cannot be used or is held."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(data, error) from error
    try:
        _lock(data, handle)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def is_held(data: Path) -> bool:
    """Whether a node is using the folder. Nothing is changed."""
    try:
        handle = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def refusal(data: Path) -> str | None:
    """Why the folder cannot be used, or made; None where it can. Nothing is changed."""
    place = _nearest(data)
    if not place.is_dir():
        code = errno.ENOTDIR
    elif not os.access(place, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(place).f_flag & os.ST_RDONLY else errno.EACCES
    else:
        return None
    return f"{data} {_cannot(data)}: {_why(data, OSError(code, os.strerror(code)))}"


def _lock(data: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()} {socket.gethostname()}".encode())
    except BlockingIOError as error:
        holder = os.read(handle, _LONGEST_HOLDER).decode(errors="replace")
        raise FolderError(
            f"the node{_named(holder)} is using {data}; stop it first, or give this one a folder of its own "
            "with --data"
        ) from error
    except OSError as error:
        raise _unusable(data, error) from error


def _named(holder: str) -> str:
    """The holder's process id, and the name of its machine or container if that is another one."""
    pid, _, host = holder.partition(" ")
    if not pid.isdecimal():
        return ""
    return f" with pid {pid}" + (f" on {host}" if host and host != socket.gethostname() else "")


def _unusable(data: Path, error: OSError) -> FolderError:
    return FolderError(f"{data} {_cannot(data)}: {_why(data, error)}; {_ADVICE}")


def _cannot(data: Path) -> str:
    return "cannot be the data folder" if os.path.lexists(data) else "cannot be made"


def _why(data: Path, error: OSError) -> str:
    place = _nearest(data / LOCK_NAME)
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"the user {_name_of(os.getuid())} may not write {place}{_owner(place)}"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{place} is a file"
    if error.errno == errno.EROFS:
        return f"the file system of {_nearest(data)} is read-only"
    if error.errno == errno.ENOSPC:
        return f"there is no space left where {_nearest(data)} is"
    if error.errno == errno.ENOENT:  # as in /proc
        return f"{place} takes no files or folders"
    return error.strerror or str(error)


def _nearest(path: Path) -> Path:
    """The nearest part of the path that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _owner(path: Path) -> str:
    try:
        return f", which belongs to {_name_of(path.stat().st_uid)}"
    except OSError:  # it may not be looked at
        return ""


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
