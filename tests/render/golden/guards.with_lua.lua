-- Written by portico render nginx --lua: change portico.yaml instead.
local portico = require "portico"

portico.consumers([=[{"1+zfJerz3roPJih3Hb3SLUE4q2zzj5HtAqLKDex8irc=": {"name": "partner", "scopes": ["orders"]}}]=])
portico.guard("orders", [=[{
  "methods": [
    {
      "kind": "jwt",
      "from": [{"header": true}],
      "issuers": {},
      "other": {
        "issuer": null,
        "algorithms": ["HS256"],
        "audience": ["shop"],
        "leeway": 0.0,
        "required_claims": [],
        "require_expiry": false,
        "types": ["jwt", "at+jwt"],
        "keys": [{"env": "SECRET_KEY", "size": 32, "algorithms": ["HS256"], "kid": null}]
      }
    },
    {
      "kind": "api_key",
      "header": "x-api-key",
      "several": {
        "status": 401,
        "reason": "credentials_missing",
        "detail": "send one API key, as 'X-API-Key: KEY'",
        "challenges": ["ApiKey realm=\"portico\""]
      }
    }
  ],
  "missing": {
    "status": 401,
    "reason": "credentials_missing",
    "detail": "send one token, as 'Authorization: Bearer TOKEN'; or send one API key, as 'X-API-Key: KEY'",
    "challenges": ["Bearer realm=\"portico\"", "ApiKey realm=\"portico\""]
  },
  "withheld": ["X-API-Key"],
  "withheld_parameters": [],
  "asked": null,
  "deny": [],
  "authorize": {
    "always": {"scopes": ["orders"], "any_scopes": [], "claims": []},
    "methods": {"POST": {"scopes": [], "any_scopes": [], "claims": [{"path": ["roles"], "values": ["clerk"]}]}}
  },
  "before": [],
  "limits": [
    {
      "key": "route:orders:0:after",
      "by": "consumer",
      "numbers": {"rate": 60.0, "burst": 20, "quotas": [{"period": "day", "most": 1000}]},
      "owns": {"partner": {"rate": 60.0, "burst": 20, "quotas": [{"period": "day", "most": 100000}]}}
    }
  ]
}]=])
