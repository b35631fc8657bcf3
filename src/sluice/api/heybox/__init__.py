"""The HeyBox bot API dialect (contract: docs/contract/heybox.md): bots play sources into voice channels.

gateway     one request from bytes to envelope, the checks in their fixed order
fields   how bodies are read
streams  push and stop                channels  create
rates    how often a bot may call
envelope the answer's form            errors    the answer's failures, as data

Vendor names stop in this folder.
"""
