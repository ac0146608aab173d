"""The HTTP cache (RFC 9111): its rules, which neither read nor write anything, the stores, and the flow of requests.

| question | file |
|---|---|
| what does a Cache-Control say? | `directives.py`, `structured.py` |
| what does a request ask of caches? | `asked.py` |
| what do a route's settings come to? | `rules.py` |
| may a response be stored? | `storing.py` |
| how old is it, and how long is it fresh? | `freshness.py`, `dates.py` |
| may it be served? | `serving.py` |
| whose is it, and which requests does it answer? | `variants.py` |
| under which key? | `keys.py`, `query.py` |
| what is sent to validate it, and what does the reply change? | `validation.py` |
| what of it is sent? | `ranges.py` |
| what does a change make invalid? | `invalidation.py` |
| what is said of it? | `status.py` |
| what is kept? | `stored.py` |

| the flow of requests | file |
|---|---|
| what a worker's caches share | `caches.py` |
| one route's cache, in memory or in Redis | `cache.py`, `redis_cache.py` |
| one request before the cache | `lookup.py` |
| fetching a response that is stored and shared | `fetch.py` |
| the usual miss, in few steps | `usual.py` |
| fetching without a client | `refresh.py` |
| who waits for whom; what has arrived so far | `flights.py`; `recording.py` |
| a stored or arriving response to a client | `replay.py` |
| the stores | `memory.py`, `codec.py`; `redis_store.py`, `redis_writer.py`, `redis_body.py`, `redis_place.py` |
| purges, and the method for them | `purges.py`, `purge_urls.py`, `purge_method.py` |
| what is stored for a URL | `inspection.py` |
| URLs that differ in what does not matter (No-Vary-Search) | `searches.py` |
"""
