"""The store: tasks, apps and outgoing events in SQL, behind one thread. Knows no HTTP, media or rooms."""
