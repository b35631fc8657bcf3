"""GStreamer's webrtcbin as publisher and viewer, for Debian's own Python, which has its bindings.

    /usr/bin/python3 gstreamer.py publish|watch URL TOKEN SECONDS [BUNDLE-POLICY [H264-CAPS]]

Prints one line of JSON: the buffers of each kind that were sent or received in SECONDS since the answer, the
state of the connection, and what went wrong.
"""

import json
import sys
import urllib.error
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 - versions first

H264 = "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000"
OPUS = (
    "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2"
)
PUBLISH = f"""
videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1
  ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 ! rtph264pay name=video config-interval=-1
  ! {H264} ! peer.
audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2
  ! opusenc ! rtpopuspay name=audio ! {OPUS} ! peer.
"""


class Client:
    def __init__(
        self, role: str, url: str, token: str, seconds: str, policy: str = "max-bundle", caps: str = ""
    ) -> None:
        self.result: dict[str, object] = {"video": 0, "audio": 0, "state": "new", "error": ""}
        self.loop = GLib.MainLoop()
        self._url, self._token, self._seconds = url, token, float(seconds)
        peer = f"webrtcbin name=peer bundle-policy={policy}"
        self._pipeline = Gst.parse_launch(f"pipeline. ( {peer} {PUBLISH if role == 'publish' else ''} )")
        self._peer = self._pipeline.get_by_name("peer")
        self._agent = self._peer.get_property("ice-agent")  # kept: the peer itself does not hold it
        self._agent.emit("add-local-ip-address", "127.0.0.1")
        self._peer.connect("notify::ice-gathering-state", self._on_gathered)
        self._peer.connect("notify::connection-state", self._on_state)
        self._peer.connect("pad-added", self._on_pad)
        bus = self._pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self._on_error)
        if role == "publish":
            for name in ("video", "audio"):
                self._count(self._pipeline.get_by_name(name).get_static_pad("src"), name)
        else:
            receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            for wanted in (f"{H264}{caps}", OPUS):
                self._peer.emit("add-transceiver", receive, Gst.Caps.from_string(wanted))
        self._peer.connect("on-negotiation-needed", lambda peer: self._offer())
        self._pipeline.set_state(Gst.State.PLAYING)

    def _offer(self) -> None:
        self._peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self._on_offer))

    def _on_offer(self, promise: Gst.Promise) -> None:
        promise.wait()
        reply = promise.get_reply()  # has to live as long as what is in it
        self._peer.emit("set-local-description", reply.get_value("offer"), None)

    def _on_gathered(self, *_: object) -> None:
        if self._peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self._post)

    def _post(self) -> None:
        offer = self._peer.get_property("local-description").sdp.as_text()
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(self._url, offer.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            self._end(f"{error.code} {error.read().decode()}")
            return
        _, message = GstSdp.SDPMessage.new_from_text(answer.decode())
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self._peer.emit(
            "set-remote-description", description, Gst.Promise.new_with_change_func(self._on_answered)
        )

    def _on_answered(self, promise: Gst.Promise) -> None:
        promise.wait()
        reply = promise.get_reply()
        if reply is not None and reply.has_field("error"):
            self._end(reply.get_value("error").message)
        GLib.timeout_add(int(self._seconds * 1000), self._end, "")

    def _on_state(self, *_: object) -> None:
        self.result["state"] = self._peer.get_property("connection-state").value_nick

    def _on_pad(self, _: Gst.Element, pad: Gst.Pad) -> None:
        if pad.direction == Gst.PadDirection.SRC:
            sink = Gst.ElementFactory.make("fakesink")
            self._pipeline.add(sink)
            pad.link(sink.get_static_pad("sink"))
            sink.sync_state_with_parent()
            self._count(pad, pad.get_current_caps().get_structure(0).get_string("media"))

    def _count(self, pad: Gst.Pad, name: str) -> None:
        def probe(pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
            self.result[name] += 1
            return Gst.PadProbeReturn.OK

        pad.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, probe)

    def _on_error(self, _: Gst.Bus, message: Gst.Message) -> None:
        self._end(message.parse_error()[0].message)

    def _end(self, error: str) -> None:
        self.result["error"] = self.result["error"] or error
        self.loop.quit()


if __name__ == "__main__":
    Gst.init(None)
    client = Client(*sys.argv[1:])
    client.loop.run()
    print(json.dumps(client.result))
