"""Callbacks: what happened is told to the programs of callers, in order, until they have it.

store.outbox  the events that wait, written with the change that they tell of
service       registrations, what waits and what is dead; one courier for each destination
courier       the deliveries of one destination: what is due, tried again, given up
slots         how many deliveries run at once, and to one host
presence      what changes in rooms make of events, for `rooms` to write
forms/        one file for each form of callback: body, signature, retries. Vendor names stop here
"""
