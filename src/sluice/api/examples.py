"""Calls that work as they stand, for the OpenAPI documents, the page ``/docs`` and the reference.

They follow each other: what one starts, the next ones show, change and end. The reader's own values have
placeholders, which the page fills in where it knows them.
"""

from collections.abc import Mapping
from typing import Any

APP_ID, TOKEN = "your-app-id", "your-token"
_APP = {"AppId": APP_ID}
_ROOM = {**_APP, "RoomId": "Room1"}
_RELAY = {**_ROOM, "TaskId": "Relay1"}
_PUSH = {**_ROOM, "TaskId": "Push1"}
_SOURCE = "https://example.com/clip.mp4"
_TOLD = {
    **_APP,
    "URL": "https://example.com/told",
    "SecretKey": "known-to-both",
    "EventList": ["RelayStreamStateChanged", "TranscodeStateChanged"],
}

#: Parameters by action.
VOLCENGINE: Mapping[str, Mapping[str, Any]] = {
    "StartRelayStream": {
        **_RELAY,
        "UserId": "Clip",
        "Token": TOKEN,
        "Control": {"StreamUrl": _SOURCE, "StreamMode": 1},
    },
    "UpdateRelayStream": {**_RELAY, "Control": {"StreamUrl": "https://example.com/song.mp3", "MediaType": 1}},
    "ListRelayStream": _ROOM,
    "StopRelayStream": _RELAY,
    "StartPushSingleStreamToCDN": {
        **_PUSH,
        "Stream": {"UserId": "Anna"},
        "PushURL": "rtmp://example.com/live/anna",
        "Control": {"MaxIdleTime": 60},
    },
    "GetPushSingleStreamToCDNTask": _PUSH,
    "StopPushStreamToCDN": _PUSH,
    "CreateCallback": _TOLD,
    "UpdateCallback": {**_TOLD, "EventList": ["UserJoinRoom", "UserLeaveRoom"]},
    "GetCallback": _APP,
    "DeleteCallback": _APP,
    "GetRoomOnlineUsers": _ROOM,
    "BanRoomUser": {**_ROOM, "UserId": "Anna", "ForbiddenInterval": 60},
}

#: Bodies of the bot API by their models.
BOTS: Mapping[str, Mapping[str, Any]] = {
    "CreateChannel": {"room_id": "7", "channel_name": "Music", "channel_type": 0},
    "Push": {
        "room_id": "7",
        "channel_id": "42",
        "operator": 1,
        "stream_url": "https://example.com/song.mp3",
        "volume": 60,
    },
    "Stop": {"task_id": "the task_id that push answered"},
}

#: Bodies of the native API by their models.
NATIVE: Mapping[str, Mapping[str, Any]] = {
    "NewApp": {},
    "AppChange": {"push": True},
    "NewKey": {"app_ids": [APP_ID]},
    "Enabled": {"enabled": True},
    "NewBot": {"name": "dj", "app_id": APP_ID},
    "BotEnabled": {"enabled": True},
    "ChannelSetting": {"line": "trtc", "name": "Music"},
    "ControlBody": {"volume": 50},
    "ProbeBody": {"url": _SOURCE},
    "NewRegistration": {"url": "https://example.com/told", "business_id": "Business1"},
    "NewToken": {"room_id": "Room1", "user_id": "Anna"},
    "ToSign": {
        "method": "GET",
        "query": f"Action=ListRelayStream&Version=2023-11-01&AppId={APP_ID}&RoomId=Room1",
        "host": "127.0.0.1:8080",
    },
}
