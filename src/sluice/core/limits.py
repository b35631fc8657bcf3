"""The budget of every stranger: what bytes, items, depth, time and rate one may use, each with its reason.

Whoever uses more is ended (that caller, peer, source or receiver alone) with a text that names the limit.
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
#: Seconds that a connection may lie idle between requests: longer than clients keep theirs (aiohttp: 15 s),
#: as who closes first loses a call of the other.
LONGEST_IDLE_S = 75.0
#: Seconds in which a caller who was answered or refused before he had sent all may read that, and bytes
#: that he may still send meanwhile, which nobody keeps: many write all before they read.
LONGEST_FAREWELL_S = 5.0
MOST_FAREWELL_BYTES = 128 << 20
#: Seconds that what we sent may stay without acknowledgement, or the caller without room for more.
LONGEST_UNREAD_S = 60
#: Bytes of one request on the wire, framing included; doors allow bodies of 1 MB at most.
MOST_REQUEST_BYTES = 4 << 20
#: Requests that are sent before the first is answered (pipelining); each is kept.
MOST_PIPELINED = 16
#: Bytes of all unfinished requests together, and what is small enough to be taken beyond that.
MOST_UNFINISHED_BYTES = 64 << 20
SMALL_REQUEST_BYTES = 16 << 10
#: Descriptors that connections leave to children, the store, callbacks and the operator, where there are so
#: many.
KEPT_DESCRIPTORS = 2048
#: Bytes of a body of the native API: the longest list that it takes is a fifth of it.
MOST_NATIVE_BODY_BYTES = 1 << 20
#: Bytes of an If-Match: 16 entity tags of ours, which are 4 bytes, or of whoever made them longer.
MOST_IF_MATCH_BYTES = 1024
#: Bytes of an SDP offer, an ICE fragment or another body of a peer; Chromium's offer of all codecs is 10 KB.
MOST_OFFER_BYTES = 64 << 10
#: Defaults of settings of the same name in small letters, for the node; for peers of each room process,
#: which serves 5,000. A page opens a peer for each stream that it shows, and its old ones may linger for
#: half a minute when it is loaded again: 256 at one address are a page of 80 streams, three times. One
#: token that a show gives to all its viewers serves 2,000. 2,000 viewers of two streams may sit behind one
#: address (a company, or a proxy that is not named to the node), and one room leaves a tenth to the others.
MOST_TOKEN_PEERS = 256
MOST_USER_PEERS = 2000
MOST_ADDRESS_PEERS = 4000
MOST_ROOM_PEERS = 4500
#: The same for event streams, of which a page opens one.
MOST_TOKEN_STREAMS = 128
MOST_USER_STREAMS = 2000
MOST_ADDRESS_STREAMS = 4000
MOST_ROOM_STREAMS = 4500
#: Connections at once, where the system allows so many: 2,000 viewers with a browser's six each fall back
#: to fewer.
MOST_CONNECTIONS = 10_000
#: Peers that may be offered in a minute by a user at an address, and by an address: 2,000 viewers of five
#: streams who come at once, and a page of 100 streams that is loaded again three times.
MOST_TOKEN_JOINS = 600
MOST_ADDRESS_JOINS = 12_000
#: Tokens in a minute that are worth nothing, by address: a whole show whose tokens have just expired.
MOST_FAILED_LOGINS = 6000
#: Wrong admin tokens in a row of an address until it has to wait.
MOST_ADMIN_TRIES = 10
#: Callers (users, addresses) whose rates are kept; beyond it the one who was silent longest is forgotten.
MOST_RATED_CALLERS = 10_000
#: Seconds of back-off after wrong admin tokens: the first, doubled by each further one, and the longest.
FIRST_BACK_OFF_S = 1.0
LONGEST_BACK_OFF_S = 60.0
#: Seconds for which an address that has shown the right admin token is not held to the back-off of others
#: there.
TRUST_S = 3600.0
#: Seconds between two lines of the log about refusals for the same reason.
REFUSALS_LOGGED_EVERY_S = 60.0

# --- peers of rooms -----------------------------------------------------------------------------------------

# --- HTTP: servers of sources and receivers of callbacks ----------------------------------------------------

#: Characters of an address that is asked for, with what it is joined of. Servers refuse requests beyond 8 kB
#: as a rule; signed addresses have 2 to 4.
MOST_URL_CHARS = 16_384
#: Characters of an address in an error text, a log or a document.
MOST_SHOWN_URL_CHARS = 300
#: Characters of a host's name and of each of its parts (RFC 1035 2.3.4). A longer one cannot be resolved, and
#: bringing other scripts to ASCII takes time that grows with the square.
MOST_HOST_CHARS, MOST_LABEL_CHARS = 253, 63

# --- playlists and manifests --------------------------------------------------------------------------------

# --- containers and codecs ----------------------------------------------------------------------------------

# --- RTMP servers -------------------------------------------------------------------------------------------
