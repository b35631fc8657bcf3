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
#: Characters of a host's name and of each of its parts (RFC 1035 2.3.4). A longer one cannot be resolved, and
#: bringing other scripts to ASCII takes time that grows with the square.
MOST_HOST_CHARS, MOST_LABEL_CHARS = 253, 63

# --- playlists and manifests --------------------------------------------------------------------------------

# --- containers and codecs ----------------------------------------------------------------------------------

# --- RTMP servers -------------------------------------------------------------------------------------------
