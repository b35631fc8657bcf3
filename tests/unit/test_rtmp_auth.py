"""Logins to RTMP servers. The expected answers were computed by the steps of librtmp's documents, by hand."""

import hashlib
from base64 import b64encode

import pytest

from sluice.wire.rtmp_auth import Login, LoginFailed

_NEED = "[ AccessManager.Reject ] : [ code=403 need auth; authmod={} ] : "
_ADOBE = (
    "[ AccessManager.Reject ] : [ authmod=adobe ] : "
    "?reason=needauth&user=u&salt=S1t=&challenge=C1h=&opaque=O1p="
)
_LLNW = "[ AccessManager.Reject ] : [ authmod=llnw ] : ?reason=needauth&user=u&nonce=n0nce"


def _digest(text: str) -> str:
    return b64encode(hashlib.md5(text.encode()).digest()).decode()


def test_adobe() -> None:
    login = Login("u", "p")
    assert login.parameters(_NEED.format("adobe"), "live", "0badcafe") == "?authmod=adobe&user=u"
    response = _digest(_digest("uS1t=p") + "O1p=" + "0badcafe")
    assert login.parameters(_ADOBE, "live", "0badcafe") == (
        f"?authmod=adobe&user=u&challenge=0badcafe&response={response}&opaque=O1p="
    )


def test_adobe_without_opaque() -> None:
    response = _digest(_digest("uS1t=p") + "C1h=" + "0badcafe")
    text = _ADOBE.removesuffix("&opaque=O1p=")
    assert Login("u", "p").parameters(text, "live", "0badcafe") == (
        f"?authmod=adobe&user=u&challenge=0badcafe&response={response}"
    )


@pytest.mark.parametrize(("app", "place"), [("live", "live/_definst_"), ("live/inst", "live/inst")])
def test_llnw(app: str, place: str) -> None:
    def digest(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    response = digest(f"{digest('u:live:p')}:n0nce:00000001:0badcafe:auth:{digest(f'publish:/{place}')}")
    assert Login("u", "p").parameters(_LLNW, app, "0badcafe") == (
        f"?authmod=llnw&user=u&nonce=n0nce&cnonce=0badcafe&nc=00000001&response={response}"
    )


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([_NEED.format("other")], "of a kind that is not spoken here"),
        ([_ADOBE, _ADOBE], "refuses the user or the password"),
        ([_NEED.format("adobe"), _NEED.format("adobe")], "gives no challenge"),
        (["[ authmod=adobe ] : ?reason=authfailed&opaque=x"], "refuses the user or the password"),
        (["[ authmod=llnw ] : ?reason=nosuchuser&user=u"], "refuses the user or the password"),
    ],
)
def test_failures(texts: list[str], words: str) -> None:
    login = Login("u", "p")
    for text in texts[:-1]:
        login.parameters(text, "live", "0badcafe")
    with pytest.raises(LoginFailed, match=words):
        login.parameters(texts[-1], "live", "0badcafe")


def test_without_a_password() -> None:
    with pytest.raises(LoginFailed, match="rtmp://user:password@host"):
        Login("", "").parameters(_NEED.format("adobe"), "live", "0badcafe")


def test_whether_a_login_is_wanted() -> None:
    assert Login.is_wanted(_ADOBE)
    assert Login.is_wanted("code=403 need auth")
    assert not Login.is_wanted("no such app")
