"""The budget of every stranger: what bytes, items, depth, time and rate one may use, each with its reason.

Whoever uses more is ended (that caller, peer, source or receiver alone) with a text that names the limit.
Numbers that tune quality rather than protect, such as the depth of a jitter buffer, stay where they are used.
"""

# --- callers of the API -------------------------------------------------------------------------------------

# --- peers of rooms -----------------------------------------------------------------------------------------

# --- HTTP: servers of sources and receivers of callbacks ----------------------------------------------------

# --- playlists and manifests --------------------------------------------------------------------------------

# --- containers and codecs ----------------------------------------------------------------------------------

# --- RTMP servers -------------------------------------------------------------------------------------------
