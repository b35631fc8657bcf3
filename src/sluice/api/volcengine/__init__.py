"""The Volcengine RTC OpenAPI dialect (contract: the vendor's pages, "Volcengine RTC OpenAPI" in the docs).

gateway     one request from bytes to envelope, the checks in their fixed order
actions  which actions there are: name, method, versions, model, handler
fields   how parameters are read, from JSON, queries and forms
relay    the relay family: its models and handlers
envelope the answer's form        errors   the answer's failures, as data

Vendor names and casing stop in this folder.
"""
