// libdatachannel (OBS publishes with it): watches one stream and publishes what it gets as another.
//
//     node libdatachannel.mjs WHEP-URL WHIP-URL TOKEN SECONDS
//
// Prints one line of JSON: what arrived in the seconds since both answers (pictures, packets of sound), the
// states of both connections, and what went wrong.
import rtc from "node-datachannel";

const [whep, whip, token, seconds] = process.argv.slice(2);
const found = {video: 0, audio: 0, watching: "", publishing: "", error: ""};
const SSRC = {video: 1111, audio: 2222};

function connect(name, direction) {
  const peer = new rtc.PeerConnection(name, {iceServers: [], bindAddress: "127.0.0.1"});
  const audio = new rtc.Audio("0", direction), video = new rtc.Video("1", direction);
  audio.addOpusCodec(111);
  video.addH264Codec(96);
  if (direction === "SendOnly") {
    audio.addSSRC(SSRC.audio, name, name, "audio");
    video.addSSRC(SSRC.video, name, name, "video");
  }
  return {peer, tracks: {audio: peer.addTrack(audio), video: peer.addTrack(video)}};
}

async function negotiate(peer, url) {
  const gathered = new Promise(resolve => peer.onGatheringStateChange(state => state === "complete" && resolve()));
  peer.setLocalDescription("offer");
  await gathered;
  const response = await fetch(url, {
    method: "POST", body: peer.localDescription().sdp,
    headers: {"Content-Type": "application/sdp", "Authorization": `Bearer ${token}`},
  });
  const answer = await response.text();
  if (response.status !== 201) throw new Error(`${response.status} ${answer}`);
  peer.setRemoteDescription(answer, "answer");
}

const watching = connect("viewer", "RecvOnly"), publishing = connect("publisher", "SendOnly");
for (const kind of ["audio", "video"]) {
  watching.tracks[kind].onMessage(packet => {
    if (packet[1] >= 192 && packet[1] < 224) return; // RTCP (RFC 5761)
    found[kind] += kind === "audio" || packet[1] >= 128 ? 1 : 0;
    packet.writeUInt32BE(SSRC[kind], 8);
    if (publishing.tracks[kind].isOpen()) publishing.tracks[kind].sendMessageBinary(packet);
  });
}
watching.peer.onStateChange(state => { found.watching = state; });
publishing.peer.onStateChange(state => { found.publishing = state; });
try {
  await negotiate(publishing.peer, whip);
  await negotiate(watching.peer, whep);
  await new Promise(resolve => setTimeout(resolve, seconds * 1000));
} catch (error) {
  found.error = String(error);
}
console.log(JSON.stringify(found));
process.exit(0);
