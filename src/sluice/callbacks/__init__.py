"""Callbacks: what happened is told to the programs of callers, in order, until they have it.

store.outbox  the waiting events, each written in the transaction of its change
service       registrations, waiting and dead events; one courier for each destination
courier       the deliveries to one destination: due, tried again, given up
slots         how many deliveries run at once, and to one host
presence      makes events of the changes in rooms; `rooms` writes them
forms/        one file for each form of callback: body, signature, retries. Vendor names stop here
"""
