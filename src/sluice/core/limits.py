"""The budget of every stranger: what bytes, items, depth, time and rate one may use, each with its reason.

Whoever uses more is ended (that caller, peer, source or receiver alone) with a text that names the limit.
Numbers that tune quality rather than protect, such as the depth of a jitter buffer, stay where they are used.
"""

# --- callers of the API -------------------------------------------------------------------------------------

# --- peers of rooms -----------------------------------------------------------------------------------------

# --- HTTP: servers of sources and receivers of callbacks ----------------------------------------------------

# --- playlists and manifests --------------------------------------------------------------------------------

#: Bytes of an HLS playlist or DASH manifest: 12 h of segments of 2 s have some 3 MB.
MOST_PLAYLIST_BYTES = 8 << 20
#: Lines of a playlist that are not empty: ten for each segment.
MOST_PLAYLIST_LINES = 1_000_000
#: Segments of a playlist or manifest: 55 h of 2 s. Each is an object of half a kilobyte.
MOST_SEGMENTS = 100_000
#: Segments of a manifest that are looked at: a few bytes of timeline make endless ones, all without a length.
MOST_EXAMINED_SEGMENTS = 200_000
#: Variants and renditions of a master playlist; only the best few are tried.
MOST_RENDITIONS = 1000
#: Characters of an address in a playlist: servers take 8 KB at most.
LONGEST_ADDRESS = 8192
#: Characters of all addresses that a playlist makes: each may repeat a long base, a variable, a template.
MOST_ADDRESS_CHARS = 48 << 20
#: Periods of a manifest: a day with a break for each 8 s. Elements in all, how deep, and bytes of one tag.
MOST_PERIODS, MOST_ELEMENTS, DEEPEST_ELEMENT, LONGEST_TAG = 10_000, 250_000, 64, 256 << 10
#: Bytes and entries of a list of addresses (M3U, PLS, XSPF), which people or scripts write.
MOST_LIST_BYTES, MOST_LIST_ENTRIES = 1 << 20, 5000
#: Of the time of a core, what reading a live playlist again and again may take: one that is large, and grows,
#: is asked for less often.
MOST_RELOAD_SHARE = 0.05

# --- containers and codecs ----------------------------------------------------------------------------------

# --- RTMP servers -------------------------------------------------------------------------------------------
