"""The room engine: runs in a room process of its own; the node reaches it through `rooms.client`."""
