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
"""
