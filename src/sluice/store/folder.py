"""The data folder of a node: made where it is missing, and held by one node at a time.

Two nodes on one folder would both play its tasks. The lock is the kernel's (flock), so it ends with the
process, however that ends. The text in the file only tells people and commands who holds it
(`store.whereabouts`).
"""

import errno
import fcntl
import os
import pwd
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluice.core.figures import DISK_FREE, Values
from sluice.store.errors import FolderError
from sluice.store.whereabouts import MOST_BYTES, Whereabouts, of_this_process, read_whereabouts

LOCK_NAME = "node.lock"
#: A command that looks whether the lock is held holds it for a moment.
_TRIES, _PAUSE_S = 5, 0.02
_ADVICE = "mend that, or name another folder with --data"


class Hold:
    """A folder that this process holds."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def tell(self, where: Whereabouts) -> None:
        """Writes what others read of this process."""
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, where.text(), 0)


@contextmanager
def held(data: Path) -> Iterator[Hold]:
    """Holds the folder while the context is open. Raises FolderError if it cannot be used or is held."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(data, error) from error
    try:
        _lock(data, handle)
        hold = Hold(handle)
        try:
            hold.tell(of_this_process())
        except OSError as error:
            raise _unusable(data, error) from error
        yield hold
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def is_held(data: Path) -> bool:
    """Whether a node is using the folder. Nothing is changed."""
    return holder(data) is not None


def holder(data: Path) -> Whereabouts | None:
    """The process that uses the folder, as far as it has told; None without one. Nothing is changed."""
    try:
        handle = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_whereabouts(os.pread(handle, MOST_BYTES, 0)) or Whereabouts(0, socket.gethostname())
    finally:
        os.close(handle)
    return None


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
    for n in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if n + 1 < _TRIES:
                time.sleep(_PAUSE_S)
                continue
            named = _named(read_whereabouts(os.pread(handle, MOST_BYTES, 0)))
            raise FolderError(
                f"the node{named} is using {data}; stop it first, or give this one a folder of its own "
                "with --data"
            ) from error
        except OSError as error:
            raise _unusable(data, error) from error
        return


def _named(found: Whereabouts | None) -> str:
    """The holder's process id, and the name of its machine or container if that is another one."""
    if found is None:
        return ""
    return f" with pid {found.pid}" + (f" on {found.host}" if found.host and found.is_elsewhere else "")


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


def free_space(folder: Path) -> Values:
    """What is free on its disk (core.figures.NODE); nothing where the system does not say it."""
    try:
        return {DISK_FREE.name: {"": shutil.disk_usage(folder).free}}
    except OSError:
        return {}
