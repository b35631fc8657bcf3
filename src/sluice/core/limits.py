"""The budget of every stranger: what bytes, items, depth, time and rate one may use, each with its reason.

Whoever uses more is ended (that caller, peer, source or receiver alone) with a text that names the limit.
Numbers that tune quality rather than protect, such as the depth of a jitter buffer, stay where they are used.
"""

# --- callers of the API -------------------------------------------------------------------------------------

# --- peers of rooms -----------------------------------------------------------------------------------------

# --- HTTP: servers of sources and receivers of callbacks ----------------------------------------------------

#: Characters of an address that is asked for, with what it is joined of. Servers refuse requests beyond 8 kB
#: as a rule; signed addresses have 2 to 4.
MOST_URL_CHARS = 16_384
#: Characters of an address in an error text, a log or a document.
MOST_SHOWN_URL_CHARS = 300
#: Characters of a host's name and of each of its parts (RFC 1035 2.3.4). A longer one cannot be resolved,
#: and bringing other scripts to ASCII takes time that grows with the square.
MOST_HOST_CHARS, MOST_LABEL_CHARS = 253, 63

# --- playlists and manifests --------------------------------------------------------------------------------

# --- containers and codecs ----------------------------------------------------------------------------------

# --- RTMP servers -------------------------------------------------------------------------------------------

#: Bytes of unfinished messages of one server, and the chunk streams that they lie on. The largest message
#: that the format knows is as long; players see three or four streams.
MOST_RTMP_BYTES, MOST_RTMP_CHUNK_STREAMS = 16 << 20, 256
#: Steps for each wake-up of the loop, some 0.5 ms: a chunk, a part of an aggregate message or a few bytes of
#: a command. All others of the process come in between.
MOST_RTMP_STEPS = 200
#: Steps that a server may cost each second for long, and at once when a stream begins. 50 Mbit/s in chunks of
#: 128 bytes are 49,000, and cost 0.15 s of a core.
MOST_RTMP_STEPS_PER_S, MOST_RTMP_STEPS_AT_ONCE = 50_000, 250_000
#: The same for steps that bring no media: pings, acknowledgements, empty messages, chunks of a few bytes.
MOST_RTMP_IDLE_STEPS_PER_S, MOST_RTMP_IDLE_STEPS_AT_ONCE = 200, 5_000
#: Parts of one aggregate message: some seconds of media.
MOST_RTMP_PARTS = 1_000
#: Bytes of a command, and of a data message that is read: metadata with an index of a long file is larger
#: than any command, and a stream plays without it.
MOST_RTMP_COMMAND_BYTES, MOST_RTMP_DATA_BYTES = 64 << 10, 256 << 10
#: Values in AMF of one command, one data message (4 ms), and in a file, where worker threads read the index of
#: its key frames; how deep they are nested.
MOST_COMMAND_VALUES, MOST_DATA_VALUES, MOST_FILE_VALUES, MOST_AMF_DEPTH = 1_000, 5_000, 100_000, 16
