"""What keeps a node from starting: one line that says so, at once, and nothing is left behind."""

import errno
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sluice.store.errors import FolderError
from sluice.store.folder import LOCK_NAME, held

_NOBODY = 65534
_DEADLINE_S = 30
_HOLD = "import os, pathlib, sys; from sluice.store.folder import held"


def serve(*options: str, data: Path) -> subprocess.CompletedProcess[str]:
    """One that ends by itself."""
    command = [
        sys.executable,
        "-m",
        "sluice",
        "serve",
        "--data",
        str(data),
        "--media-processes",
        "1",
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)


def the_line(failed: subprocess.CompletedProcess[str]) -> str:
    assert failed.returncode == 1
    assert failed.stdout == ""
    (line,) = failed.stderr.splitlines()
    return line.removeprefix("sluice: ")


@pytest.fixture
def taken() -> Iterator[tuple[int, int]]:
    """A TCP and a UDP port that another program has."""
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as tcp,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        yield tcp.getsockname()[1], udp.getsockname()[1]


def test_ports_that_are_used(taken: tuple[int, int], tmp_path: Path) -> None:
    http, media = taken
    used = "port {} of 127.0.0.1 is used by another program; end it, or give another port"
    line = the_line(serve("--listen", f"127.0.0.1:{http}", data=tmp_path))
    assert line == "listen: the TCP " + used.format(http)
    assert not (tmp_path / "sluice.db").exists(), "nothing was begun"
    line = the_line(serve("--listen", "127.0.0.1:0", "--media-port", str(media), data=tmp_path))
    assert line == "media_port: the UDP " + used.format(media)


def test_a_second_node_on_one_data_folder(tmp_path: Path) -> None:
    with held(tmp_path):
        line = the_line(serve("--listen", "127.0.0.1:0", "--media-port", "0", data=tmp_path))
    assert line.startswith(f"the node with pid {os.getpid()} is using {tmp_path}; ")


def test_the_lock_is_the_folders_and_ends_with_its_holder(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "data")
    with held(tmp_path / "data"):
        with pytest.raises(FolderError, match="pid"), held(link):
            pass
        with held(tmp_path / "other"):
            pass
    with held(link):
        pass
    dies = f"{_HOLD}; held(pathlib.Path(sys.argv[1])).__enter__(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", dies, tmp_path / "data"], check=False).returncode == 9
    with held(tmp_path / "data"):
        pass


@pytest.mark.parametrize(
    ("holder", "named"),
    [
        ("77 elsewhere", "the node with pid 77 on elsewhere is using"),
        (f"77 {socket.gethostname()}", "the node with pid 77 is using"),
        ("", "the node is using"),
        ("\xff\n", "the node is using"),
    ],
)
def test_who_holds_the_lock(tmp_path: Path, holder: str, named: str) -> None:
    with held(tmp_path):
        (tmp_path / LOCK_NAME).write_text(holder, encoding="latin-1")
        with pytest.raises(FolderError, match=named), held(tmp_path):
            pass


def test_what_cannot_be_a_data_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path, why in (
        (file, f"cannot be the data folder: {file} is a file"),
        (file / "below" / "it", f"cannot be made: {file} is a file"),
        (tmp_path / ("x" * 300), "cannot be made: File name too long"),
        (Path("/proc/sluice"), "cannot be made: /proc takes no files or folders"),
    ):
        with pytest.raises(FolderError, match=f"^{re.escape(f'{path} {why}')}; "), held(path):
            pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder of another user")
def test_a_data_folder_of_another_user() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # pytest's own folders are closed to others
        _check_folder_of_another_user(Path(name) / "theirs")


def _check_folder_of_another_user(theirs: Path) -> None:
    theirs.mkdir(mode=0o755)
    code = (
        f"{_HOLD}; os.setuid({_NOBODY})\n"
        "try: held(pathlib.Path(sys.argv[1])).__enter__()\n"
        "except Exception as error: print(error)"
    )
    for path in (theirs, theirs / "new"):
        done = subprocess.run(
            [sys.executable, "-c", code, path],
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=True,
        )
        why = f"the user nobody may not write {theirs}, which belongs to root"
        cannot = "cannot be the data folder" if path == theirs else "cannot be made"
        assert done.stdout.startswith(f"{path} {cannot}: {why}; "), done


def test_too_few_descriptors(tmp_path: Path) -> None:
    limited = f"ulimit -n 100 && exec {sys.executable} -m sluice serve --data {tmp_path} --listen 127.0.0.1:0"
    failed = subprocess.run(
        ["bash", "-c", limited], capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )
    line = the_line(failed)
    assert line.startswith("open files: the system allows 100, a node needs 256; raise it: LimitNOFILE=")
    assert not (tmp_path / "sluice.db").exists()


def test_a_disk_without_room_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sluice.store.folder.os.open", full)
    with pytest.raises(FolderError, match=r"there is no space left where .* is; mend that"), held(tmp_path):
        pass


@pytest.mark.parametrize("terminal", [True, False])
def test_secrets_are_shown_on_a_terminal_alone(tmp_path: Path, terminal: bool) -> None:
    reader, writer = os.openpty() if terminal else os.pipe()
    command = [sys.executable, "-m", "sluice", "serve", "--data", str(tmp_path), "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--media-port", "0", "--media-processes", "1"], stdout=writer) as node:
        os.close(writer)
        shown = b""
        with suppress(OSError):  # how a terminal tells its end
            while data := os.read(reader, 4096):
                shown += data
                if b" serves at " in shown:
                    node.terminate()
    os.close(reader)
    document = json.loads((tmp_path / "credentials.json").read_text())
    for name in ("app_key", "secret_key", "admin_token"):
        assert (document[name].encode() in shown) == terminal
    assert document["app_id"].encode() in shown
    assert str(tmp_path / "credentials.json").encode() in shown
