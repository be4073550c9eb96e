"""Docker's Engine API, 1.24 to 1.51: a translation of the engine, without decisions of its own.

versions    which versions are spoken, what Pier calls itself
app         the aiohttp application
listen      serving it on sockets
standin     ping, version, info and ps while the event loop is stuck
connection  a client's connection, as it may stop being HTTP
hijack      taking a connection over: attach, exec
streams     stdcopy frames and header blocks (pure)
dispatch    from a request to its route, from an error to its status
call        one call as a route sees it: parameters, body, filters
answers     JSON, empty and streamed answers; what ends when its client leaves
transfers   archives in and out, cut off when they do not move
progress    the steps of pulls, loads and builds, streamed
schema/     Docker's JSON and its translation (pure)
routes/     the endpoints, by subject
views       what an answer about a container needs, collected
listing     the filters of `docker ps`
events      events on the wire, and who wants them
usage       `docker system df`
volumes     volumes as answers show them
auth        credentials in headers
requests    values between the API and the engine
"""
