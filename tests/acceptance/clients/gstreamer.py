"""GStreamer's webrtcbin as a publisher or a viewer: a program of its own for Debian's Python, which has the
bindings.

    /usr/bin/python3 gstreamer.py publish|watch URL TOKEN SECONDS [CAPS-OF-H264]

It prints one line of JSON: what arrived in the seconds since the answer (pictures, packets of sound), the
state of the connection, and what went wrong.
"""

import json
import sys
import urllib.error
import urllib.request
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 - their versions come first

H264 = "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000"
OPUS = (
    "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2"
)
PEER = "webrtcbin name=peer bundle-policy=max-bundle"
SENT = f"""
videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1
  ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 ! rtph264pay config-interval=-1
  ! {H264} ! peer.
audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2
  ! opusenc ! rtpopuspay ! {OPUS} ! peer.
"""


class Client:
    def __init__(self, role: str, url: str, token: str, seconds: str, caps: str = "") -> None:
        self.loop = GLib.MainLoop()
        self.counts = {"video": 0, "audio": 0}
        self.state = self.error = ""
        self._url, self._token, self._ms = url, token, int(float(seconds) * 1000)
        self._pipeline = Gst.parse_launch(f"pipeline. ( {PEER} {SENT if role == 'publish' else ''} )")
        self._peer = self._pipeline.get_by_name("peer")
        self._agent = self._peer.get_property("ice-agent")  # dies without a reference of ours
        self._agent.emit("add-local-ip-address", "127.0.0.1")
        self._peer.connect("notify::ice-gathering-state", self._on_gathered)
        self._peer.connect("notify::connection-state", self._on_state)
        self._peer.connect("on-negotiation-needed", self._on_needed)
        self._peer.connect("pad-added", self._on_pad)
        bus = self._pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: self._end(message.parse_error()[0].message))
        if role == "watch":
            receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            for wanted in (H264 + caps, OPUS):
                self._peer.emit("add-transceiver", receive, Gst.Caps.from_string(wanted))
        self._pipeline.set_state(Gst.State.PLAYING)

    def _on_needed(self, _: Any) -> None:
        self._peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self._on_offer))

    def _on_offer(self, promise: Any) -> None:
        promise.wait()
        reply = promise.get_reply()  # has to live as long as what is in it
        self._peer.emit("set-local-description", reply.get_value("offer"), None)

    def _on_gathered(self, *_: Any) -> None:
        if self._peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self._post)

    def _post(self) -> None:
        offer = self._peer.get_property("local-description").sdp.as_text()
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {self._token}"}
        try:
            request = urllib.request.Request(self._url, offer.encode(), headers)
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = response.read().decode()
        except urllib.error.HTTPError as error:
            self._end(f"{error.code} {error.read().decode()}")
            return
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        promise = Gst.Promise.new_with_change_func(self._on_answered)
        self._peer.emit("set-remote-description", described, promise)

    def _on_answered(self, promise: Any) -> None:
        promise.wait()
        reply = promise.get_reply()
        if reply is not None and reply.has_field("error"):
            self._end(reply.get_value("error").message)
        GLib.timeout_add(self._ms, self._end, "")

    def _on_state(self, *_: Any) -> None:
        self.state = self._peer.get_property("connection-state").value_nick

    def _on_pad(self, _: Any, pad: Any) -> None:
        """A track that arrives: its packets are counted and thrown away."""
        if pad.direction != Gst.PadDirection.SRC:
            return
        kind = pad.get_current_caps().get_structure(0).get_string("media")

        def count(pad: Any, info: Any) -> Any:
            # Each picture has one packet with the marker bit; sound has one for each packet.
            last = info.get_buffer().extract_dup(1, 1)[0] >= 0x80
            self.counts[kind] += last or kind == "audio"
            return Gst.PadProbeReturn.OK

        pad.add_probe(Gst.PadProbeType.BUFFER, count)
        sink = Gst.ElementFactory.make("fakesink")
        self._pipeline.add(sink)
        pad.link(sink.get_static_pad("sink"))
        sink.sync_state_with_parent()

    def _end(self, error: str) -> None:
        self.error = self.error or error
        self.loop.quit()


if __name__ == "__main__":
    Gst.init(None)
    client = Client(*sys.argv[1:])
    client.loop.run()
    print(json.dumps({**client.counts, "state": client.state, "error": client.error}))
