"""Programs as users write them with the vendor's SDKs, each a process of its own. On stdin they get one JSON
object ``{"host", "access_key", "secret_key", "calls": [{"method", "action", "version", "parameters"}]}``; on
stdout they write one JSON array: for each call its ``{"Result"}``, or ``{"Error"}`` with the code."""
