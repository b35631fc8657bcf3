"""Answers as the world's servers give them: packed, in parts, redirected, badly framed, with cookies."""

import gzip
import re
import socket
import zlib
from collections.abc import Iterator

import brotli
import pytest

from sluice.core.lifecycle import Reason
from sluice.net.context import HttpContext
from sluice.net.http import HttpTimeouts
from tests.integration.http_files import Open, error_of, fixed, opening, read_all
from tests.integration.scripted import Answer, ScriptedServer

_BODY = bytes(range(251)) * 2000  # 502 kB
_TEXT = b"#EXTM3U\n" + b"#EXTINF:4,\nseg.ts\n" * 500


@pytest.fixture
def open_file() -> Iterator[Open]:
    with opening(HttpTimeouts(connect_s=2, first_byte_s=2, stall_s=2)) as open_file:
        yield open_file


def _by_path(**answers: bytes) -> Answer:
    """Answers by the first segment of the path."""

    def answer(request: str, connection: socket.socket) -> None:
        connection.sendall(answers[request.split()[1].strip("/").partition("/")[0]])

    return answer


def _ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _to(location: str | bytes, *headers: str, status: str = "302 Found") -> bytes:
    raw = location if isinstance(location, bytes) else location.encode()
    lines = "".join(f"{line}\r\n" for line in headers).encode()
    return f"HTTP/1.1 {status}\r\n".encode() + b"Location: " + raw + b"\r\n" + lines + b"\r\n"


def _capped(most: int, body: bytes = _BODY, *, total: bool = True, length: bool = True) -> Answer:
    def answer(request: str, connection: socket.socket) -> None:
        start = int(re.findall(r"bytes=(\d+)-", request)[0])
        if start >= len(body):
            connection.sendall(b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n")
            return
        part = body[start : start + most]
        head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{start + len(part) - 1}/"
        head += f"{len(body)}\r\n" if total else "*\r\n"
        head += f"Content-Length: {len(part)}\r\n" if length else ""
        connection.sendall(head.encode() + b"\r\n" + part)

    return answer


def _gzipped(data: bytes) -> bytes:
    """The same each time: it is part of a test's name, which two workers have to agree on."""
    return gzip.compress(data, mtime=0)


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


class TestPacked:
    @pytest.mark.parametrize(
        ("coding", "packed"),
        [
            ("gzip", _gzipped(_TEXT)),
            ("X-GZIP", _gzipped(_TEXT)),
            ("gzip", _gzipped(_TEXT[:100]) + _gzipped(_TEXT[100:])),
            ("gzip", _gzipped(_TEXT) + b"\0" * 8),
            ("gzip", _TEXT),
            ("deflate", zlib.compress(_TEXT)),
            ("deflate", _raw_deflate(_TEXT)),
            ("br", brotli.compress(_TEXT)),
            ("gzip, br", brotli.compress(_gzipped(_TEXT))),
            ("br, gzip", _gzipped(brotli.compress(_TEXT))),
            ("identity", _TEXT),
            ("utf-8", _TEXT),
            ("", _TEXT),
        ],
    )
    @pytest.mark.parametrize("size", [7, 65536])
    def test_unpacked(self, open_file: Open, coding: str, packed: bytes, size: int) -> None:
        with ScriptedServer(fixed(_ok(packed, f"Content-Encoding: {coding}"))) as server:
            file = open_file(server.url())
            assert not file.seekable()
            assert read_all(file, size) == _TEXT
            assert file.tell() == len(_TEXT)
            assert file.read(1) == b""

    def test_it_has_no_size_and_no_positions(self, open_file: Open) -> None:
        packed = _gzipped(_TEXT)
        head = f"HTTP/1.1 206 Part\r\nContent-Encoding: gzip\r\nContent-Range: bytes 0-{len(packed) - 1}/"
        answer = f"{head}{len(packed)}\r\n\r\n".encode() + packed
        with ScriptedServer(fixed(answer)) as server:
            file = open_file(server.url())
            assert (file.size, file.seekable()) == (None, False)
            assert read_all(file) == _TEXT

    @pytest.mark.parametrize(
        ("head", "body"),
        [
            ("Transfer-Encoding: gzip, chunked", b"%x\r\n%s\r\n0\r\n\r\n"),
            ("Content-Encoding: gzip\r\nTransfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n"),
        ],
    )
    def test_in_chunks(self, open_file: Open, head: str, body: bytes) -> None:
        packed = _gzipped(_TEXT)
        answer = f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body % (len(packed), packed)
        with ScriptedServer(fixed(answer)) as server:
            assert read_all(open_file(server.url())) == _TEXT

    def test_in_parts(self, open_file: Open) -> None:
        packed = _gzipped(_TEXT)

        def answer(request: str, connection: socket.socket) -> None:
            start = int(re.findall(r"bytes=(\d+)-", request)[0])
            part = packed[start : start + 50]
            head = f"HTTP/1.1 206 Part\r\nContent-Range: bytes {start}-{start + len(part) - 1}/{len(packed)}"
            connection.sendall(f"{head}\r\nContent-Encoding: gzip\r\n\r\n".encode() + part)

        with ScriptedServer(answer) as server:
            assert read_all(open_file(server.url())) == _TEXT

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
    def test_a_bomb(self, open_file: Open, coding: str) -> None:
        pack = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}[coding]
        with ScriptedServer(fixed(_ok(pack(bytes(17 << 20)), f"Content-Encoding: {coding}"))) as server:
            file = open_file(server.url())
            error = error_of(lambda: [None for _ in iter(lambda: file.read(1 << 20), b"")])
        assert (error.reason, error.transient) == (Reason.SOURCE_UNSUPPORTED, False)
        assert "grows more than 100 times" in str(error)

    def test_a_bomb_in_a_bomb(self, open_file: Open) -> None:
        body = gzip.compress(gzip.compress(bytes(17 << 20)))
        with ScriptedServer(fixed(_ok(body, "Content-Encoding: gzip, gzip"))) as server:
            file = open_file(server.url())
            error = error_of(lambda: [None for _ in iter(lambda: file.read(1 << 20), b"")])
        assert "grows more than 100 times" in str(error)

    @pytest.mark.parametrize(
        ("coding", "body", "words"),
        [
            ("gzip", _gzipped(_TEXT)[:-20], "ends in the middle"),
            ("br", brotli.compress(_TEXT)[:-20], "ends in the middle"),
            ("gzip", _gzipped(_TEXT)[:30] + b"?" * 40, "cannot be unpacked"),
            ("deflate", b"\x78\x9c" + b"?" * 40, "cannot be unpacked"),
            ("br", b"?" * 40, "cannot be unpacked"),
            ("zstd", b"x", "packs its answer with zstd"),
            ("gzip, gzip, gzip", b"x", "packs its answer with gzip, gzip, gzip"),
        ],
    )
    def test_what_cannot_be_unpacked(self, open_file: Open, coding: str, body: bytes, words: str) -> None:
        with ScriptedServer(fixed(_ok(body, f"Content-Encoding: {coding}"))) as server:
            file = open_file(server.url())
            assert words in str(error_of(lambda: read_all(file)))


class TestParts:
    @pytest.mark.parametrize("most", [1000, 131_072, 262_144, 10**6])
    def test_a_part_that_is_whole_is_no_loss(self, open_file: Open, most: int) -> None:
        with ScriptedServer(_capped(most, _BODY[:50_000] if most == 1000 else _BODY)) as server:
            file = open_file(server.url())
            size = file.size
            assert size is not None
            assert file.seekable()
            assert read_all(file) == _BODY[:size]
        assert len(server.requests) == -(-size // most)

    @pytest.mark.parametrize("length", [True, False])
    def test_an_unknown_total(self, open_file: Open, length: bool) -> None:
        with ScriptedServer(_capped(200_000, total=False, length=length)) as server:
            file = open_file(server.url())
            assert (file.size, file.seekable()) == (None, False)
            assert read_all(file) == _BODY
        assert len(server.requests) == 4

    def test_seeking_between_parts(self, open_file: Open) -> None:
        with ScriptedServer(_capped(10_000)) as server:
            file = open_file(server.url())
            for position in (0, 9_990, 25_000, 24_000, 300_000, len(_BODY) - 5):
                file.seek(position)
                data = b""
                while len(data) < min(30_000, len(_BODY) - position):
                    data += file.read(30_000 - len(data))
                assert data == _BODY[position : position + 30_000]

    def test_a_server_that_stops_honouring_range(self, open_file: Open) -> None:
        answers = iter([_capped(100_000), fixed(_ok(_BODY)), fixed(_ok(_BODY))])
        with ScriptedServer(lambda request, connection: next(answers)(request, connection)) as server:
            file = open_file(server.url())
            assert read_all(file) == _BODY
            assert len(server.requests) == 2
            file.seek(5)
            assert file.read(3) == _BODY[5:8]

    def test_bodies_that_break_off_again_and_again(self, open_file: Open) -> None:
        """A server that promises all and gives 40 kB: no new attempt while bytes come."""

        def answer(request: str, connection: socket.socket) -> None:
            start = int(re.findall(r"bytes=(\d+)-", request)[0])
            head = f"Content-Range: bytes {start}-{len(_BODY) - 1}/{len(_BODY)}"
            rest = f"{head}\r\nContent-Length: {len(_BODY) - start}\r\n\r\n"
            connection.sendall(f"HTTP/1.1 206 Part\r\n{rest}".encode() + _BODY[start : start + 40_000])

        with ScriptedServer(answer) as server:
            assert read_all(open_file(server.url())) == _BODY

    @pytest.mark.parametrize("head", ["Content-Range: bytes */0", "Content-Range: bytes */*"])
    def test_an_empty_file(self, open_file: Open, head: str) -> None:
        def answer(request: str, connection: socket.socket) -> None:
            if "Range" in request:
                connection.sendall(f"HTTP/1.1 416 No\r\n{head}\r\nContent-Length: 0\r\n\r\n".encode())
            else:
                connection.sendall(_ok(b""))

        with ScriptedServer(answer) as server:
            file = open_file(server.url())
            assert file.read(5) == b""
            assert file.size == 0

    def test_a_server_that_wants_no_range(self, open_file: Open) -> None:
        def answer(request: str, connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 416 No\r\n\r\n" if "Range" in request else _ok(b"all of it"))

        with ScriptedServer(answer) as server:
            file = open_file(server.url())
            assert read_all(file) == b"all of it"
            assert not file.seekable()

    def test_416_in_the_middle(self, open_file: Open) -> None:
        answers = iter([_capped(1000), *[fixed(b"HTTP/1.1 416 Range Not Satisfiable\r\n\r\n")] * 9])
        with ScriptedServer(lambda request, connection: next(answers)(request, connection)) as server:
            error = error_of(lambda: read_all(open_file(server.url())))
        assert "416 Range Not Satisfiable" in str(error)
        assert error.denied

    def test_a_server_that_gives_the_same_part_for_ever(self, open_file: Open) -> None:
        part = b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\nabc"
        with ScriptedServer(fixed(part)) as server:
            file = open_file(server.url())
            assert "does not give the range" in str(error_of(lambda: read_all(file)))
            assert len(server.requests) <= 4

    @pytest.mark.parametrize("length", ["", "Content-Length: 502000\r\n"])
    def test_a_server_that_begins_again_and_never_comes_further(self, open_file: Open, length: str) -> None:
        """It forgets Range, and breaks off or ends always at the same place."""

        def answer(request: str, connection: socket.socket) -> None:
            if len(server.requests) == 1:
                _capped(100_000, total=bool(length))(request, connection)
            else:
                connection.sendall(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode() + _BODY[:100_000])

        with ScriptedServer(answer) as server:
            file = open_file(server.url())
            if length:
                assert "the connection was lost after 100000" in str(error_of(lambda: read_all(file)))
            else:
                assert read_all(file) == _BODY[:100_000]
            assert len(server.requests) <= 4

    @pytest.mark.parametrize("first", [_capped(300_000), fixed(_ok(_BODY)[:400_000])], ids=["range", "none"])
    def test_a_recording_goes_on_at_the_byte_where_a_server_without_range_broke_off(
        self, open_file: Open, first: Answer
    ) -> None:
        """So nothing is shown again, as it would be by another attempt, which begins at a key frame."""
        whole = _ok(_BODY)

        def answer(request: str, connection: socket.socket) -> None:
            if len(server.requests) == 1:
                first(request, connection)
            else:
                connection.sendall(whole if len(server.requests) > 2 else whole[:400_000])

        with ScriptedServer(answer) as server:
            file = open_file(server.url())
            file.recorded = True
            assert read_all(file) == _BODY
            assert len(server.requests) == 3

    def test_what_is_no_recording_does_not_begin_anew(self, open_file: Open) -> None:
        with ScriptedServer(fixed(_ok(_BODY)[:400_000])) as server:
            file = open_file(server.url())
            assert "the connection was lost after" in str(error_of(lambda: read_all(file)))
            assert len(server.requests) == 1

    def test_a_file_that_became_shorter(self, open_file: Open) -> None:
        answers = iter([_capped(100_000, total=False), *[fixed(b"HTTP/1.1 200 OK\r\n\r\nshort")] * 9])
        with ScriptedServer(lambda request, connection: next(answers)(request, connection)) as server:
            file = open_file(server.url())
            assert "has changed: it ends at 5 bytes now" in str(error_of(lambda: read_all(file)))

    @pytest.mark.parametrize("content_range", ["bytes 500-999/1000", "nonsense"])
    def test_another_part_than_was_asked_for(self, open_file: Open, content_range: str) -> None:
        def answer(request: str, connection: socket.socket) -> None:
            if "bytes=0-" in request and content_range == "nonsense":
                _capped(10)(request, connection)
                return
            head = f"HTTP/1.1 206 Part\r\nContent-Range: {content_range}\r\nContent-Length: 3\r\n\r\nabc"
            connection.sendall(head.encode())

        with ScriptedServer(answer) as server:
            file = open_file(server.url())
            assert "does not give the range" in str(error_of(lambda: read_all(file)))
        assert len(server.requests) <= 4


class TestFraming:
    @pytest.mark.parametrize(
        ("answer", "body"),
        [
            (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
            (b"HTTP/1.1 200\nContent-Length: 5\n\nhello", b"hello"),
            (b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello", b"hello"),
            (b"HTTP/1.1 200 OK\r\nbroken line\r\nContent-Length: 5\r\n\r\nhello, more", b"hello"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\nhello", b"hello"),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx",
                b"x",
            ),
            (b"HTTP/1.1 203 Other\r\nContent-Length: 1\r\n\r\nx", b"x"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3 ;a=b\r\nhel\r\n02\nlo\n0\r\nX-Trailer: 1\r\n\r\n",
                b"hello",
            ),
        ],
        ids=["1.0", "bare LF", "blank lines", "no header", "two lengths", "interim", "203", "chunks"],
    )
    def test_taken(self, open_file: Open, answer: bytes, body: bytes) -> None:
        with ScriptedServer(fixed(answer)) as server:
            file = open_file(server.url())
            assert read_all(file) == body
            assert file.read(1) == b""
        assert server.requests[0].startswith("GET ")

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (b"HTTP/1.1 102 Processing\r\n\r\n" * 50, "answers 102 Processing"),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "answers 101 Switching"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", "which has no content"),
            (b"HTTP/1.1 205 Reset\r\n\r\n", "which has no content"),
            (b"HTTP/1.1 302 Found\r\n\r\n", "answers 302 Found to http://127.0.0.1"),
            (b"HTTP/1.1 302 Found\r\nLocation:\r\n\r\n", "does not say where to"),
            (b"HTTP/1.1 304 Not Modified\r\n\r\n", "answers 304"),
            (
                b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n",
                "give the right user and password",
            ),
            (b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest x\r\n\r\n", "another login than Basic"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "the head of the answer has no end"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n", "the connection was lost"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 999, "was lost"),
        ],
    )
    def test_refused(self, open_file: Open, answer: bytes, words: str) -> None:
        with ScriptedServer(fixed(answer)) as server:
            assert words in str(error_of(lambda: read_all(open_file(server.url()))))

    @pytest.mark.parametrize(("status", "denied"), [("403 No", True), ("404 No", True), ("503 No", False)])
    def test_whether_a_server_says_no(self, open_file: Open, status: str, denied: bool) -> None:
        with ScriptedServer(fixed(f"HTTP/1.1 {status}\r\n\r\n".encode())) as server:
            error = error_of(lambda: open_file(server.url()).read(1))
        assert (error.denied, error.transient) == (denied, True)


class TestWays:
    def test_ten_redirects(self, open_file: Open) -> None:
        answers = {str(n): _to(f"/{n + 1}") for n in range(10)} | {"10": _ok(b"there")}
        with ScriptedServer(_by_path(**answers)) as server:
            assert read_all(open_file(server.url("/0"))) == b"there"

    def test_eleven(self, open_file: Open) -> None:
        with ScriptedServer(_by_path(**{str(n): _to(f"/{n + 1}") for n in range(20)})) as server:
            text = str(error_of(lambda: open_file(server.url("/0")).read(1)))
            assert text == f"{server.url('/0')} redirects more than 10 times, at last to {server.url('/10')}"

    def test_those_that_differ_in_what_is_masked_are_no_circle(self, open_file: Open) -> None:
        with ScriptedServer(
            _by_path(**{f"a?token={n}": _to(f"/a?token={n + 1}") for n in range(20)})
        ) as server:
            text = str(error_of(lambda: open_file(server.url("/a?token=0")).read(1)))
        assert "redirects more than 10 times" in text

    def test_slow_ones(self, open_file: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each hop may take its time, all of them together have a limit."""
        monkeypatch.setattr("sluice.net.http_bytes.LONGEST_WALK_S", -1.0)
        with ScriptedServer(_by_path(a=_to("/b"), b=_to("/a"))) as server:
            text = str(error_of(lambda: open_file(server.url("/a")).read(1)))
        assert text == f"{server.url('/a')} redirects for more than -1 s"
        assert len(server.requests) == 1

    def test_a_circle_is_named(self, open_file: Open) -> None:
        answers = {"a": _to("/b"), "b": _to("/c?token=secret"), "c?token=secret": _to("/b")}
        with ScriptedServer(_by_path(**answers)) as server:
            text = str(error_of(lambda: open_file(server.url("/a")).read(1)))
            b, c = server.url("/b"), server.url("/c?token=***")
            assert text in (
                f"the server redirects in a circle: {b} → {c} → {b}",
                f"the server redirects in a circle: {c} → {b} → {c}",
            )

    def test_a_redirect_to_itself_that_sets_a_cookie(self, open_file: Open) -> None:
        def answer(request: str, connection: socket.socket) -> None:
            if "Cookie: seen=1\r\n" in request:
                connection.sendall(_ok(b"there"))
            else:
                connection.sendall(_to("/a", "Set-Cookie: seen=1; Path=/"))

        with ScriptedServer(answer) as server:
            context = HttpContext()
            assert read_all(open_file(server.url("/a"), context=context)) == b"there"
            assert read_all(open_file(server.url("/b"), context=context)) == b"there"
            assert len(server.requests) == 3  # the second file of the source has the cookie

    @pytest.mark.parametrize(
        ("location", "asked"),
        [
            ("/歌曲/夜.mp3", "/%E6%AD%8C%E6%9B%B2/%E5%A4%9C.mp3"),
            (b"/caf\xe9.mp3", "/caf%E9.mp3"),
            ("/%E5%A4%9C.mp3", "/%E5%A4%9C.mp3"),
            ("/a b?c=d e#f", "/a%20b?c=d%20e"),
            ("b", "/x/b"),
            ("../b", "/b"),
            ("?b", "/x/y?b"),
            ("\\b\\c", "/b/c"),
            ("//127.0.0.1:{port}//b", "//b"),
            ("http://127.0.0.1:{port}", "/"),
            ("http:b", "/x/b"),
        ],
    )
    def test_locations(self, open_file: Open, location: str | bytes, asked: str) -> None:
        def answer(request: str, connection: socket.socket) -> None:
            if request.startswith("GET /x/y "):
                place = (
                    location.replace("{port}", str(server.port)) if isinstance(location, str) else location
                )
                connection.sendall(_to(place))
            else:
                connection.sendall(_ok(b"x"))

        with ScriptedServer(answer) as server:
            assert open_file(server.url("/x/y")).read(1) == b"x"
        assert server.requests[1].split()[1] == asked

    def test_the_way_is_gone_again_when_its_end_refuses(self, open_file: Open) -> None:
        """A redirect to a signed address that holds once."""
        used: set[str] = set()

        def answer(request: str, connection: socket.socket) -> None:
            path = request.split()[1]
            if path == "/start":
                connection.sendall(_to(f"/signed/{len(used)}"))
            elif path in used:
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            else:
                used.add(path)
                _capped(300_000)(request, connection)

        with ScriptedServer(answer) as server:
            assert read_all(open_file(server.url("/start"))) == _BODY
        assert [request.split()[1] for request in server.requests] == [
            "/start",
            "/signed/0",
            "/signed/0",
            "/start",
            "/signed/1",
        ]

    def test_secrets_stay_with_their_origin(self, open_file: Open) -> None:
        with ScriptedServer(_capped(10**6)) as there:
            location = f"http://127.0.0.2:{there.port}/x"

            def answer(request: str, connection: socket.socket) -> None:
                connection.sendall(_to(location, "Set-Cookie: a=1; Path=/"))

            with ScriptedServer(answer) as here:
                file = open_file(here.url().replace("//", "//user:pass@"))
                error = error_of(lambda: file.read(1))  # nothing listens at that address
                assert "127.0.0.2" in str(error)
                location = there.url("/x")
                assert open_file(here.url().replace("//", "//user:pass@")).read(1)
                assert "Authorization" in here.requests[-1]
        assert not re.search("Authorization|Cookie", there.requests[-1])

    @pytest.mark.parametrize(
        "location", ["http://10.0.0.1/x", "http://[::ffff:10.0.0.1]/", "http://2130706434/"]
    )
    def test_the_guard_judges_each_hop(self, open_file: Open, location: str) -> None:
        dialer_sees = {"a": _to("/b", "Set-Cookie: a=1"), "b": _to(location)}
        with ScriptedServer(_by_path(**dialer_sees)) as server:
            error = error_of(lambda: open_file(server.url("/a").replace("//", "//u:p@")).read(1))
        if "2130706434" in location:  # 127.0.0.2 in another spelling, which is allowed here
            assert error.reason is Reason.SOURCE_UNREACHABLE
        else:
            assert (error.reason, error.transient) == (Reason.ADDRESS_NOT_ALLOWED, False)
