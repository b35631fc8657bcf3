"""The budget of every stranger: how many bytes and items, what depth, time and rate he may use, and why.

A caller, peer, source or receiver that uses more is ended, alone, with a text that names the limit.
Numbers that tune quality rather than protect, such as the depth of a jitter buffer, stay where they are used.
"""

# --- callers of the API -------------------------------------------------------------------------------------

#: Bytes of a request line with its headers: a query of 64 KB, which the dialect itself judges, and room for
#: the rest of a head.
MOST_HEAD_BYTES = 96 << 10
#: Header lines of a request, trailers included; a browser behind proxies sends 30.
MOST_HEADERS = 128
#: Seconds for a whole head, and for the handshake of TLS before it: a phone at 40 kbit/s takes 3 s for 16 KB.
LONGEST_HEAD_S = 20.0
LONGEST_HANDSHAKE_S = 10.0
#: Seconds without a byte of a body, and for all of it: 1 MB at 9 kB/s.
LONGEST_BODY_PAUSE_S = 20.0
LONGEST_BODY_S = 120.0
#: Seconds that a connection may be idle between requests. Clients keep theirs for less (aiohttp: 15 s): if we
#: closed first, a call that is on its way would be lost.
LONGEST_IDLE_S = 75.0
#: A caller may be answered or refused before he has sent everything. So many seconds he may take to read the
#: answer, and so many bytes he may still send, which are thrown away: many callers write all before they
#: read.
LONGEST_FAREWELL_S = 5.0
MOST_FAREWELL_BYTES = 128 << 20
#: Seconds for which what we sent may stay unacknowledged, or the caller's window closed.
LONGEST_UNREAD_S = 60
#: Bytes of one request on the wire, framing included; gateways allow bodies of 1 MB at most.
MOST_REQUEST_BYTES = 4 << 20
#: Requests that a caller sends before the first is answered (pipelining); each is kept.
MOST_PIPELINED = 16
#: Bytes of all unfinished requests together, and of one that is small enough to be taken beyond that.
MOST_UNFINISHED_BYTES = 64 << 20
SMALL_REQUEST_BYTES = 16 << 10
#: Descriptors that connections leave to children, the store, callbacks and the operator, if the system allows
#: so many.
KEPT_DESCRIPTORS = 2048
#: Descriptors that a node needs at least: for its children, the store, and some callers.
LEAST_DESCRIPTORS = 256
#: Bytes that the disk of the data folder has free at least; below that a node takes no new work, since it may
#: soon not be able to note it.
LEAST_FREE_BYTES = 64 << 20
#: Bytes of a body of the native API: the longest list that it takes is a fifth of it.
MOST_NATIVE_BODY_BYTES = 1 << 20
#: Bytes of an If-Match: 16 entity tags of 64 bytes each; ours have 16 characters.
MOST_IF_MATCH_BYTES = 1024
#: Bytes of an SDP offer, an ICE fragment or another body of a peer; Chromium's offer of all codecs is 10 KB.
MOST_OFFER_BYTES = 64 << 10
#: Defaults of the settings of the same names. They count for the node; those of peers for each room process,
#: which serves 5,000. A page opens a peer for each stream that it shows, and when it is loaded again its old
#: peers may linger for half a minute: 256 at one address are a page of 80 streams, loaded three times. One
#: token that a show gives to all its viewers serves 2,000 of them. 2,000 viewers of two streams may sit
#: behind one address (a company, or a proxy that the node does not know). One room leaves a tenth to the
#: others.
MOST_TOKEN_PEERS = 256
MOST_USER_PEERS = 2000
MOST_ADDRESS_PEERS = 4000
MOST_ROOM_PEERS = 4500
#: The same for event streams, of which a page opens one.
MOST_TOKEN_STREAMS = 128
MOST_USER_STREAMS = 2000
MOST_ADDRESS_STREAMS = 4000
MOST_ROOM_STREAMS = 4500
#: Connections at once, if the system allows so many. 2,000 browsers with six each would need more; they make
#: do with fewer.
MOST_CONNECTIONS = 10_000
#: Peers that a user at one address may offer in a minute, and that an address may: a page of 100 streams that
#: is loaded again three times, and 2,000 viewers of five streams who come at once.
MOST_TOKEN_JOINS = 600
MOST_ADDRESS_JOINS = 12_000
#: Invalid tokens in a minute from one address: the tokens of a whole show may have just expired.
MOST_FAILED_LOGINS = 6000
#: Wrong admin tokens in a row from an address before it has to wait.
MOST_ADMIN_TRIES = 10
#: Callers (users, addresses) whose rates are kept; beyond that the one that was silent longest is forgotten.
MOST_RATED_CALLERS = 10_000
#: Seconds of back-off after wrong admin tokens: the first, doubled by each further one, and the longest.
FIRST_BACK_OFF_S = 1.0
LONGEST_BACK_OFF_S = 60.0
#: Seconds for which an address that has shown the right admin token is free of the back-off that others there
#: have caused.
TRUST_S = 3600.0
#: Refused calls of an address in a minute that get a line each in the log; nobody reads more than ten a
#: second.
MOST_LOGGED_REFUSALS = 600
#: Seconds between two lines of the log about refusals for the same reason.
REFUSALS_LOGGED_EVERY_S = 60.0

# --- peers of rooms -----------------------------------------------------------------------------------------

#: Peers of one room process; more would exceed its descriptors and memory (30 kB each before the handshake).
MOST_PEERS = 5000
#: Peers, and users of a room, that one turn of the timer may end: each end is told to the whole room.
MOST_ENDED_AT_ONCE = 50
#: Users of one room, including those with only an event stream. A roster of all fits into one message.
MOST_ROOM_USERS = 5000
#: Peers and event streams of one user in a room.
MOST_HOLDERS = 4000

#: Lines of an offer or a fragment; a browser's offer with every codec and 50 candidates has 400.
MOST_SDP_LINES = 2000
#: Characters of an ICE user name or password (RFC 8839 5.4).
MOST_ICE_CHARACTERS = 256
#: ETags that one request names, and characters of each: ours have 16.
MOST_ETAGS, MOST_ETAG_CHARACTERS = 16, 64
#: Characters of a peer's id in a request: ours have fewer.
MOST_PEER_ID_CHARACTERS = 64

#: Addresses of one peer, which moves between networks. A new one replaces the one unused for longest.
MOST_PEER_ADDRESSES = 16
#: New addresses of a peer each second, and at once: each costs a socket. Beyond that it keeps those it has.
NEW_ADDRESSES_PER_S, NEW_ADDRESSES_AT_ONCE = 1, 15
#: Descriptors that sockets of peers leave to links, the control channel and files.
SPARE_DESCRIPTORS = 128
#: Bytes of a STUN message; an ICE check has about 130.
MOST_STUN_BYTES = 548
#: Genuine ICE checks of a peer each second, and at once; agents send 20 to 100 while they connect.
CHECKS_PER_S, CHECKS_AT_ONCE = 200, 400
#: Checks with a wrong password for one peer each second, and at once; beyond that only known addresses count.
FALSE_CHECKS_PER_S, FALSE_CHECKS_AT_ONCE = 20, 100
#: DTLS datagrams of a peer each second, and at once; a handshake takes ten.
HANDSHAKE_DATAGRAMS_PER_S, HANDSHAKE_DATAGRAMS_AT_ONCE = 20, 100

#: Bytes of RTP of a publisher each second, and at once: every viewer is sent them. Each packet counts as one
#: of LEAST_RTP_BYTES at least, so that there are 7,000 packets each second at most.
RTP_BYTES_PER_S, RTP_BYTES_AT_ONCE, LEAST_RTP_BYTES = 8_400_000, 8_400_000, 1_200
#: ICE restarts and announcements (which kinds it sends from now on) of a peer each second, and at once. The
#: whole room is told of announcements.
ANNOUNCEMENTS_PER_S, ANNOUNCEMENTS_AT_ONCE = 1, 20
#: RTCP packets of a peer each second, and at once. A browser sends a packet for each gap: 430 and more at
#: 50 Mbit/s with a tenth lost, the most loss at which viewers are still sent pictures.
RTCP_PACKETS_PER_S, RTCP_PACKETS_AT_ONCE = 800, 1_600
#: New SSRCs of a peer each second, and at once: each costs memory in libsrtp for as long as the peer lives. A
#: browser has 5; a publisher that changes its encoder every hour may do so for weeks.
NEW_SSRCS_PER_S, NEW_SSRCS_AT_ONCE = 1 / 60, 64
#: Packets from a peer's address each second, and at once, that are not authentic or are repeats; others may
#: have forged them. Beyond that all packets of the address are dropped, and the peer is not blamed.
FORGED_PER_S, FORGED_AT_ONCE = 2_000, 4_000
#: RTCP packets in one compound packet; browsers send up to ten.
MOST_COMPOUND_PACKETS = 32
#: Bytes of an RTP header extension that are looked at; browsers send 20 to 60.
MOST_EXTENSION_BYTES = 256
#: NAL units in one aggregation packet, and in one access unit.
MOST_AGGREGATED_UNITS, MOST_UNITS = 64, 2_048
#: NAL units of a publisher each second, and at once; 60 pictures of 32 slices are 1,920.
UNITS_PER_S, UNITS_AT_ONCE = 10_000, 10_000
#: Pictures of a publisher each second, and at once (after a gap): each costs a send for every viewer.
PICTURES_PER_S, PICTURES_AT_ONCE = 250, 500
#: Packets of sound each second, and at once; the shortest frame of Opus lasts 2.5 ms.
SOUNDS_PER_S, SOUNDS_AT_ONCE = 400, 800

#: Packets that one NACK may ask for, and that a viewer may each second, and at once; browsers list 1,000.
MOST_NACKED = 1_000
NACKED_PER_S, NACKED_AT_ONCE = 2_000, 2_000
#: Packets sent again to a viewer each second, and at once.
REPEATS_PER_S, REPEATS_AT_ONCE = 1_000, 500
#: Bytes sent again, as a share of what is sent to the viewer, and at once. At a tenth of loss video pauses.
REPEATED_SHARE, REPEATED_BYTES_AT_ONCE = 0.5, 512 << 10
#: Key frames that a viewer may ask for each second, and at once: they cost all other viewers quality.
KEY_FRAMES_PER_S, KEY_FRAMES_AT_ONCE = 0.5, 4
#: A peer that exceeds a budget without a pause for this long is ended.
PATIENCE_S = 10

#: Datagrams that a process takes from one socket before others have their turn, and seconds for that.
DATAGRAMS_PER_WAKEUP, WAKEUP_S = 64, 0.005

# --- control channels between processes ---------------------------------------------------------------------

#: Bytes of one message. Its parts are bounded before; a larger message is refused where it is made.
MOST_MESSAGE_BYTES = 4 << 20
#: Bytes that the other process may leave unread before requests are refused, and before it counts as stuck.
MOST_UNREAD_BYTES, MOST_UNREAD_BYTES_EVER = 4 << 20, 16 << 20

# --- HTTP: servers of sources and receivers of callbacks ----------------------------------------------------

#: Characters of an address that a source is asked for, also of one joined from parts. As a rule servers
#: refuse more than 8 kB; signed addresses have 2 to 4.
MOST_URL_CHARS = 16_384
#: Characters of an address in an error text, a log or a document.
MOST_SHOWN_URL_CHARS = 300
#: Characters of a host's name and of each of its parts (RFC 1035 2.3.4). A longer name cannot be resolved,
#: and the time to convert other scripts to ASCII grows with the square of the length.
MOST_HOST_CHARS, MOST_LABEL_CHARS = 253, 63
#: Bytes and lines of one head of an answer, and interim answers (1xx) before the one that counts.
MOST_ANSWER_HEAD_BYTES, MOST_ANSWER_HEAD_LINES, MOST_INTERIM = 128 << 10, 500, 10
#: Bytes of all heads that answer one callback; a receiver has nothing to say but 200.
MOST_REPLY_HEAD_BYTES = 32 << 10
#: Bytes of a reply's body that are read so that the connection can be used again; a longer one closes it.
MOST_REPLY_BYTES = 64 << 10
#: Bytes of chunk framing beyond eight for each byte of the body; chunks of one byte have five.
MOST_FRAMING_BYTES = 1 << 20
#: Cookies of one source, bytes of each, and of all that are sent with one request: servers refuse more.
MOST_COOKIES, MOST_COOKIE_BYTES, MOST_COOKIE_HEADER_BYTES = 60, 4096, 16 << 10
#: Addresses of one name that are judged, in the resolver's order, and that are tried.
MOST_JUDGED_ADDRESSES, MOST_TRIED_ADDRESSES = 64, 4
#: Look-ups of names at once: in all, and of names that end alike, since their servers may be silent for 10 s
#: and more. And look-ups that may wait.
MOST_LOOKUPS, MOST_LOOKUPS_OF_A_ZONE, MOST_WAITING_LOOKUPS = 64, 8, 500
#: Seconds for all redirects of one address together.
LONGEST_WALK_S = 60.0
#: Deliveries of callbacks at once: in all, of one app, to one host, and to all receivers that timed out last
#: time, each of which holds its slot until the time-out.
MOST_DELIVERIES, MOST_DELIVERIES_OF_AN_APP, MOST_DELIVERIES_TO_A_HOST = 256, 128, 32
MOST_DELIVERIES_TO_SILENT = 64

# --- playlists and manifests --------------------------------------------------------------------------------

#: Bytes of an HLS playlist or DASH manifest: 12 h of segments of 2 s have some 3 MB.
MOST_PLAYLIST_BYTES = 8 << 20
#: Lines of a playlist that are not empty: ten for each segment.
MOST_PLAYLIST_LINES = 1_000_000
#: Segments of a playlist or manifest: 55 h of 2 s. Each is an object of half a kilobyte.
MOST_SEGMENTS = 100_000
#: Segments of a manifest that are examined: a few bytes of timeline can list any number of them.
MOST_EXAMINED_SEGMENTS = 200_000
#: Variants and renditions of a master playlist; only the best few are tried.
MOST_RENDITIONS = 1000
#: Characters of an address in a playlist: servers take 8 KB at most.
LONGEST_ADDRESS = 8192
#: Characters of all addresses of a playlist together: each may repeat a long base, variable or template.
MOST_ADDRESS_CHARS = 48 << 20
#: Periods of a manifest (a day with a break every 8 s), its elements, their depth, and bytes of one tag.
MOST_PERIODS, MOST_ELEMENTS, DEEPEST_ELEMENT, LONGEST_TAG = 10_000, 250_000, 64, 256 << 10
#: Bytes and entries of a list of addresses (M3U, PLS, XSPF), which people or scripts write.
MOST_LIST_BYTES, MOST_LIST_ENTRIES = 1 << 20, 5000
#: The share of a core's time that reloading a live playlist may take: a large one that grows is asked for
#: less often.
MOST_RELOAD_SHARE = 0.05

# --- containers and codecs ----------------------------------------------------------------------------------

#: Memory that FFmpeg may allocate at once: an index of 8 million packets, 24 bytes each (46 h of AAC).
MOST_ALLOCATION_BYTES = 192 << 20
#: Tracks of a container; a whole transponder of satellite television has less than a hundred.
MOST_TRACKS = 128
#: Samples of all tracks that the head of an MP4 claims: a day of 60 pictures a second with its sound.
MOST_SAMPLES = 10_000_000
#: Edits of an MP4 (the parts of a track that are shown); FFmpeg rebuilds the index for each of them.
MOST_EDITS = 10_000
#: Pixels of a picture, 4096 x 4096: browsers decode no more, and a decoder of ours keeps 17 pictures.
MOST_PIXELS = 4096 * 4096
#: Hz: a resampler's filter grows with the distance from 48 kHz. Channels: 22.2 has 24.
LEAST_SAMPLE_RATE, MOST_SAMPLE_RATE, MOST_CHANNELS = 2_000, 768_000, 32
#: Bytes of one packet: an intra picture of the largest size has less.
LONGEST_PACKET = 32 << 20
#: Packets of all tracks at once (a server keeps some for new players), and in a second of media.
MOST_PACKETS, MOST_PACKETS_PER_S = 50_000, 10_000
#: Bytes without a packet in them; the index of a long MP4 has a hundred million.
MOST_BARREN_BYTES = 256 << 20
#: Containers that follow each other (links of Ogg, new program maps), and tracks that go on in another form:
#: at once, and in a second of media. Each one is opened anew.
MOST_RESTARTS, MOST_RESTARTS_PER_S = 100, 5.0
#: Threads of a media process that open sources, and that read playing ones: each waits for one server.
MOST_OPENING_THREADS, MOST_PLAYING_THREADS = 512, 1024
#: Seconds until a source is open: sixteen variants that fail, and one that plays.
LONGEST_OPENING_S = 60.0
#: Bytes of an FLV's script data, and of its header, which normally has 9.
MOST_SCRIPT_BYTES, LONGEST_FLV_HEADER = 1 << 20, 64 << 10
#: Megabytes of memory that a media process may have, if its machine has twice as much: some 350 relays of
#: pictures and sound, which is more than a core can carry. Beyond it, the kernel refuses more.
MOST_MEDIA_MB = 4096
#: And on the smallest machine; fifty relays.
LEAST_MEDIA_MB = 1024

# --- RTMP servers -------------------------------------------------------------------------------------------

#: Bytes of unfinished messages of one server, and the chunk streams that carry them. The format's largest
#: message is as long; players see three or four streams.
MOST_RTMP_BYTES, MOST_RTMP_CHUNK_STREAMS = 16 << 20, 256
#: Steps in each wake-up of the loop, about 0.5 ms; then all others of the process have their turn. A chunk, a
#: part of an aggregate message and a few bytes of a command are one step each; a message of media is as many
#: as it takes to make a packet of it.
MOST_RTMP_STEPS, RTMP_STEPS_OF_MEDIA = 200, 20
#: Steps that a server may cost each second for long, and at once when a stream begins. 50 Mbit/s in chunks of
#: 128 bytes are 51,000 and cost 0.15 s of a core; 25,000 messages of media at once are some minutes.
MOST_RTMP_STEPS_PER_S, MOST_RTMP_STEPS_AT_ONCE = 60_000, 500_000
#: The same for steps that bring no media: pings, acknowledgements, empty messages, chunks of a few bytes.
MOST_RTMP_IDLE_STEPS_PER_S, MOST_RTMP_IDLE_STEPS_AT_ONCE = 200, 5_000
#: Parts of one aggregate message: some seconds of media.
MOST_RTMP_PARTS = 500
#: Bytes of a command, and of a data message that is read: metadata with an index of a long file is larger
#: than any command, and a stream plays without it.
MOST_RTMP_COMMAND_BYTES, MOST_RTMP_DATA_BYTES = 64 << 10, 256 << 10
#: AMF values of one command, of one data message (4 ms) and of a file (its index of key frames, which worker
#: threads read); and the depth of their nesting.
MOST_COMMAND_VALUES, MOST_DATA_VALUES, MOST_FILE_VALUES, MOST_AMF_DEPTH = 1_000, 5_000, 100_000, 16
