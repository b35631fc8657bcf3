"""HttpFile and Dialer against nginx and against servers that behave badly, over loopback."""

import asyncio
import datetime
import io
import ipaddress
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import av
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sluice.core.addresses import AddressPolicy
from sluice.core.lifecycle import Reason
from sluice.net.dial import Dialer
from sluice.net.http import HttpTimeouts
from tests.integration.http_files import LOOPBACK, Open, error_of, fixed, opening, read_all
from tests.integration.nginx import Nginx
from tests.integration.scripted import Answer, ScriptedServer, wait_for_close

_SHORT = HttpTimeouts(connect_s=1, first_byte_s=0.3, stall_s=0.3)
_BODY = bytes(range(251)) * 8000  # 2 MB, no repetition at powers of two


@pytest.fixture
def open_file() -> Iterator[Open]:
    with opening(HttpTimeouts()) as open_file:
        yield open_file


def _ranged(body: bytes = _BODY, *, break_at: int | None = None, breaks: int = 0) -> Answer:
    """Serves ranges of `body`; the first `breaks` answers break off after `break_at` bytes."""
    left = [breaks]

    def answer(request: str, connection: socket.socket) -> None:
        found = re.search(r"Range: bytes=(\d+)-", request)
        assert found
        start = int(found[1])
        head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{len(body) - 1}/{len(body)}\r\n"
        head += f"Content-Length: {len(body) - start}\r\nContent-Type: Video/MP4; x=1\r\n\r\n"
        part = body[start:]
        if left[0]:
            left[0] -= 1
            part = part[:break_at]
        connection.sendall(head.encode() + part)

    return answer


class TestReading:
    def test_a_file_from_end_to_end(self, open_file: Open) -> None:
        with ScriptedServer(_ranged()) as server:
            file = open_file(server.url("/a?token=1"))
            assert (file.size, file.seekable(), file.readable()) == (len(_BODY), True, True)
            assert file.content_type == "video/mp4"
            assert read_all(file) == _BODY
            assert file.tell() == len(_BODY)
            assert file.read(10) == b""
        assert len(server.requests) == 1
        assert "User-Agent: sluice/" in server.requests[0]

    def test_seeking(self, open_file: Open) -> None:
        with ScriptedServer(_ranged()) as server:
            file = open_file(server.url())
            assert file.read(10) == _BODY[:10]
            assert file.seek(200_000) == 200_000
            assert file.read(10) == _BODY[200_000:200_010]
            assert len(server.requests) == 1  # a short way ahead is read through
            assert file.seek(1_000_000, io.SEEK_CUR) == 1_200_010
            assert file.read(10) == _BODY[1_200_010:1_200_020]
            assert file.seek(-5, io.SEEK_END) == len(_BODY) - 5
            assert read_all(file) == _BODY[-5:]
            file.seek(0)
            assert file.read(5) == _BODY[:5]
            assert len(server.requests) == 4
            assert file.seek(0, io.SEEK_END) == len(_BODY)
            assert file.read(1) == b""
            assert len(server.requests) == 4
            with pytest.raises(ValueError, match="before the beginning"):
                file.seek(-1)

    @pytest.mark.parametrize(
        ("head", "body", "size"),
        [
            (b"Content-Length: 5\r\n", b"hello", 5),
            (b"", b"hello", None),
            (b"Transfer-Encoding: chunked\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", None),
        ],
        ids=["length", "until close", "chunked"],
    )
    def test_a_server_that_ignores_range(
        self, open_file: Open, head: bytes, body: bytes, size: int | None
    ) -> None:
        with ScriptedServer(fixed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)) as server:
            file = open_file(server.url())
            assert (file.seekable(), file.size, file.content_type) == (False, size, "")
            with pytest.raises(io.UnsupportedOperation):
                file.seek(3)
            assert file.seek(0) == 0
            assert read_all(file) == b"hello"
            assert file.read(1) == b""

    def test_a_shoutcast_server(self, open_file: Open) -> None:
        with ScriptedServer(fixed(b"ICY 200 OK\r\nicy-name: x\r\n\r\nICY 200 OK\r\n")) as server:
            file = open_file(server.url())
            assert (file.size, file.seekable()) == (None, False)
            assert read_all(file) == b"ICY 200 OK\r\n"
        assert "icy-metadata" not in server.requests[0].lower()

    def test_what_has_arrived_is_handed_on_at_once(self, open_file: Open) -> None:
        with ScriptedServer(fixed(b"HTTP/1.1 200 OK\r\n\r\n", b"live", hold=True)) as server:
            assert open_file(server.url()).read(65536) == b"live"

    def test_basic_authentication(self, open_file: Open) -> None:
        with ScriptedServer(_ranged(b"x")) as server:
            file = open_file(server.url().replace("//", "//user:pass@"))
            assert file.read(5) == b"x"
        assert "Authorization: Basic dXNlcjpwYXNz\r\n" in server.requests[0]

    def test_proxy_variables_are_not_honoured(self, open_file: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1/")
        with ScriptedServer(_ranged(b"x")) as server:
            assert open_file(server.url()).read(5) == b"x"


class TestRedirects:
    def test_a_redirect(self, open_file: Open) -> None:
        with ScriptedServer(_ranged(b"there")) as there:
            location = f"HTTP/1.1 302 Found\r\nLocation: {there.url('/there')}\r\nContent-Length: 0\r\n\r\n"
            with ScriptedServer(fixed(location.encode())) as here:
                file = open_file(here.url())
                assert file.read(10) == b"there"
                assert file.url == there.url("/there")

    def test_endless(self, open_file: Open) -> None:
        with ScriptedServer(fixed(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n")) as server:
            error = error_of(lambda: open_file(server.url()).read(1))
        assert error.reason is Reason.SOURCE_REFUSED
        assert "in a circle" in str(error)
        assert len(server.requests) == 11

    @pytest.mark.parametrize(
        ("location", "reason"),
        [
            ("http://169.254.169.254/latest/meta-data", Reason.ADDRESS_NOT_ALLOWED),
            ("http://[::1]/", Reason.ADDRESS_NOT_ALLOWED),
            ("file:///etc/passwd", Reason.SOURCE_UNSUPPORTED),
        ],
    )
    def test_to_where_nobody_may_go(self, open_file: Open, location: str, reason: Reason) -> None:
        with ScriptedServer(fixed(f"HTTP/1.1 301 Moved\r\nLocation: {location}\r\n\r\n".encode())) as server:
            error = error_of(lambda: open_file(server.url()).read(1))
        assert error.reason is reason
        assert not error.transient


class TestFailures:
    @pytest.mark.parametrize(
        "status", ["403 Forbidden", "404 Not Found", "416 Range", "500 Oops", "204 Empty"]
    )
    def test_answers_that_are_errors(self, open_file: Open, status: str) -> None:
        with ScriptedServer(fixed(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())) as server:
            error = error_of(lambda: open_file(server.url("/f?token=secret")).seekable())
        assert (error.reason, error.transient) == (Reason.SOURCE_REFUSED, True)
        assert status in str(error)
        assert "secret" not in str(error)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (fixed(), Reason.SOURCE_REFUSED),
            (fixed(b"220 ready\r\n\r\n"), Reason.SOURCE_REFUSED),
            (fixed(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200), Reason.SOURCE_REFUSED),
            (fixed(hold=True), Reason.SOURCE_UNREACHABLE),
            (fixed(b"HTTP/1.1 200 OK\r\n", hold=True), Reason.SOURCE_UNREACHABLE),
        ],
        ids=["closes", "not HTTP", "endless headers", "silent", "headers never end"],
    )
    def test_no_answer(self, open_file: Open, answer: Answer, reason: Reason) -> None:
        with ScriptedServer(answer) as server:
            error = error_of(lambda: open_file(server.url(), timeouts=_SHORT).read(1))
        assert (error.reason, error.transient) == (reason, True)

    def test_headers_that_trickle_are_one_wait(self, open_file: Open) -> None:
        def trickle(request: str, connection: socket.socket) -> None:
            connection.settimeout(0.1)
            for byte in b"HTTP/1.1 200 OK\r\n" * 100:
                connection.sendall(bytes((byte,)))
                try:
                    connection.recv(1)
                    return
                except TimeoutError:
                    continue

        with ScriptedServer(trickle) as server:
            before = time.monotonic()
            error = error_of(lambda: open_file(server.url(), timeouts=_SHORT).read(1))
            assert time.monotonic() - before < 2
        assert error.reason is Reason.SOURCE_UNREACHABLE

    def test_connection_refused(self, open_file: Open) -> None:
        with closing(socket.socket()) as unused:
            unused.bind(("127.0.0.1", 0))
            error = error_of(lambda: open_file(f"http://127.0.0.1:{unused.getsockname()[1]}/").read(1))
        assert (error.reason, error.transient) == (Reason.SOURCE_UNREACHABLE, True)
        assert "refused" in str(error)

    def test_the_guard(self, open_file: Open) -> None:
        error = error_of(lambda: open_file("http://localhost/", Dialer(AddressPolicy())).read(1))
        assert (error.reason, error.transient) == (Reason.ADDRESS_NOT_ALLOWED, False)

    def test_a_scheme_that_is_not_http(self, open_file: Open) -> None:
        assert not error_of(lambda: open_file("file:///etc/passwd")).transient


class TestLosses:
    def test_a_broken_body_is_continued(self, open_file: Open) -> None:
        with ScriptedServer(_ranged(break_at=100_000, breaks=2)) as server:
            assert read_all(open_file(server.url())) == _BODY
        assert [re.findall(r"bytes=(\d+)", request)[0] for request in server.requests] == [
            "0",
            "100000",
            "200000",
        ]

    def test_losses_are_forgotten_after_a_while(self, open_file: Open) -> None:
        body = bytes(8 << 20)
        with ScriptedServer(_ranged(body, break_at=2 << 20, breaks=3)) as server:
            assert len(read_all(open_file(server.url()))) == len(body)

    def test_too_many_losses(self, open_file: Open) -> None:
        with ScriptedServer(_ranged(break_at=1000, breaks=99)) as server:
            file = open_file(server.url())
            error = error_of(lambda: read_all(file))
        assert (error.reason, error.transient) == (Reason.SOURCE_INTERRUPTED, True)
        assert len(server.requests) == 3

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "the connection was lost"),
            (
                fixed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n9\r\n"),
                "the connection was lost",
            ),
            (
                fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", hold=True),
                "nothing came for 0.3 s",
            ),
        ],
        ids=["closed", "closed within a chunk", "stalls"],
    )
    def test_a_body_that_cannot_be_continued(self, open_file: Open, answer: Answer, words: str) -> None:
        with ScriptedServer(answer) as server:
            file = open_file(server.url(), timeouts=_SHORT)
            assert file.read(100) == b"half"
            error = error_of(lambda: file.read(100))
        assert (error.reason, error.transient) == (Reason.SOURCE_INTERRUPTED, True)
        assert words in str(error)
        assert len(server.requests) == 1

    def test_a_file_that_changes_meanwhile(self, open_file: Open) -> None:
        answers = iter([_ranged(break_at=10, breaks=1), *[_ranged(_BODY[:-1])] * 2])
        with ScriptedServer(lambda request, connection: next(answers)(request, connection)) as server:
            file = open_file(server.url())
            assert file.read(10) == _BODY[:10]
            assert error_of(lambda: file.read(10)).reason is Reason.SOURCE_INTERRUPTED


class TestAbort:
    @pytest.mark.parametrize(
        "answer",
        [fixed(hold=True), fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", hold=True)],
        ids=["waiting for the answer", "waiting for the body"],
    )
    def test_a_blocked_read_fails_at_once(self, open_file: Open, answer: Answer) -> None:
        asked = threading.Event()

        def told(request: str, connection: socket.socket) -> None:
            asked.set()
            answer(request, connection)

        with ScriptedServer(told) as server, ThreadPoolExecutor() as pool:
            file = open_file(server.url())
            reading = pool.submit(error_of, lambda: file.read(1))
            assert asked.wait(5)
            before = time.monotonic()
            file.abort()
            error = reading.result(5)
            assert time.monotonic() - before < 1
        assert error.reason is Reason.SOURCE_INTERRUPTED
        assert "aborted" in str(error)
        assert "aborted" in str(error_of(lambda: file.read(1)))

    def test_a_connect_that_hangs(self, open_file: Open) -> None:
        with (
            closing(socket.socket()) as full,
            closing(socket.socket()) as filler,
            ThreadPoolExecutor() as pool,
        ):
            full.bind(("127.0.0.1", 0))
            full.listen(0)  # one connection fills it; the next gets no answer
            filler.connect(full.getsockname())
            file = open_file(f"http://127.0.0.1:{full.getsockname()[1]}/")
            reading = pool.submit(error_of, lambda: file.read(1))
            before = time.monotonic()
            file.abort()
            assert "aborted" in str(reading.result(5))
            assert time.monotonic() - before < 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem + built.public_bytes(serialization.Encoding.PEM))
    return path


def _tls_server(certificate: Path, answer: Answer) -> ScriptedServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return ScriptedServer(answer, context)


class TestTls:
    def test_a_trusted_server(self, open_file: Open, certificate: Path) -> None:
        with _tls_server(certificate, _ranged()) as server:
            trusting = Dialer(LOOPBACK, ssl.create_default_context(cafile=str(certificate)))
            assert read_all(open_file(server.url(), trusting)) == _BODY

    def test_a_server_that_nobody_trusts(self, open_file: Open, certificate: Path) -> None:
        with _tls_server(certificate, _ranged()) as server:
            error = error_of(lambda: open_file(server.url()).read(1))
        assert (error.reason, error.transient) == (Reason.SOURCE_UNREACHABLE, True)
        assert "certificate is not trusted" in str(error)

    def test_abort(self, open_file: Open, certificate: Path) -> None:
        asked = threading.Event()

        def told(request: str, connection: socket.socket) -> None:
            asked.set()
            wait_for_close(connection)

        with _tls_server(certificate, told) as server, ThreadPoolExecutor() as pool:
            file = open_file(
                server.url(), Dialer(LOOPBACK, ssl.create_default_context(cafile=str(certificate)))
            )
            reading = pool.submit(error_of, lambda: file.read(1))
            assert asked.wait(5)
            file.abort()
            assert "aborted" in str(reading.result(1))

    def test_a_stream(self, certificate: Path) -> None:
        async def run(dialer: Dialer, port: int) -> bytes:
            reader, writer = await dialer.connect("127.0.0.1", port, tls=True)
            writer.write(b"GET / HTTP/1.1\r\nRange: bytes=0-\r\n\r\n")
            data = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return data

        trusting = Dialer(LOOPBACK, ssl.create_default_context(cafile=str(certificate)))
        with _tls_server(certificate, _ranged(b"x")) as server:
            assert asyncio.run(run(trusting, server.port)).startswith(b"HTTP/1.1 206")
            error = error_of(lambda: asyncio.run(run(Dialer(LOOPBACK), server.port)))
        assert error.reason is Reason.SOURCE_UNREACHABLE
        assert "certificate" in str(error)


class _TwoAddresses(Dialer):
    async def resolve(self, host: str) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]


def test_the_next_address_is_tried(open_file: Open) -> None:
    async def run(port: int) -> str:
        _, writer = await _TwoAddresses(LOOPBACK).connect("example.com", port)
        peer: str = writer.get_extra_info("peername")[0]
        writer.close()
        await writer.wait_closed()
        return peer

    with ScriptedServer(_ranged(b"x")) as server:
        assert asyncio.run(run(server.port)) == "127.0.0.1"
        assert open_file(server.url(), _TwoAddresses(LOOPBACK)).read(1) == b"x"


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Serves ``end.mp4``: 200 frames in 8 s, the index at the end."""
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25"]
        command += ["-t", "8", "-c:v", "libx264", "-g", "25", "-pix_fmt", "yuv420p", "-crf", "1"]
        subprocess.run([*command, str(server.www / "end.mp4")], check=True, timeout=60)
        yield server


class TestPyAv:
    def test_an_mp4_with_its_index_at_the_end(self, nginx: Nginx, open_file: Open) -> None:
        file = open_file(nginx.http("end.mp4"))
        with av.open(file, "r") as container:
            stream = container.streams.video[0]
            assert len([packet for packet in container.demux(stream) if packet.size]) == 200
            container.seek(4_000_000)
            packet = next(container.demux(stream))
            assert packet.is_keyframe
            assert packet.pts is not None
            assert packet.time_base is not None
            assert 3 <= packet.pts * packet.time_base <= 4

    def test_errors_come_through_as_they_are(self, nginx: Nginx, open_file: Open) -> None:
        error = error_of(lambda: av.open(open_file(nginx.http("missing.mp4"))))
        assert error.reason is Reason.SOURCE_REFUSED

    def test_a_loss_within_the_demuxer(self, nginx: Nginx, open_file: Open) -> None:
        body = (nginx.www / "end.mp4").read_bytes()
        gone = threading.Event()

        def answer(request: str, connection: socket.socket) -> None:
            if not gone.is_set():
                _ranged(body, break_at=40_000, breaks=1)(request, connection)

        with ScriptedServer(answer) as server, av.open(open_file(server.url()), "r") as container:
            gone.set()
            error = error_of(lambda: list(container.demux()))
        assert error.reason is Reason.SOURCE_INTERRUPTED
