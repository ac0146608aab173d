"""What Envoy has no words for, in Lua: ids of requests, and the way back of redirects and cookies.

What a route's script is told stands in its metadata, under the name of the filter.
"""

from __future__ import annotations

from typing import Final

from portico.render.envoy.names import HTTP, Section, typed

IDS: Final = """\
-- Path and method as they were sent, and ids as Portico's: 32 hexadecimal digits, whose second half is the span (W3C).
function envoy_on_request(handle)
  local fields = handle:headers()
  local said = handle:streamInfo():dynamicMetadata()
  said:set("portico", "path", fields:get(":path"):match("^[^?]*"))
  said:set("portico", "method", fields:get(":method"))
  local id = fields:get("x-request-id"):gsub("-", "")
  fields:replace("x-request-id", id)
  fields:replace("traceparent", "00-" .. id .. "-" .. id:sub(17) .. "-00")
end
"""

ASKING: Final = """\
-- A service that decides who may come in is asked with GET: Envoy asks with the method of the request.
function envoy_on_request(handle)
  handle:headers():replace(":method", "GET")
end
"""

ASKED: Final = """\
-- What was asked is over: the request has its own method again.
function envoy_on_request(handle)
  handle:headers():replace(":method", handle:streamInfo():dynamicMetadata():get("portico").method)
end
"""

PORTICO: Final = r"""
-- Browsers at a bare prefix go to the slash behind it; the way back of redirects and cookies through a prefix;
-- names of consumers. What a route says of these is its metadata.
local NAME = "portico"

local function encoded(text)
  if text:find("^[!-$&-~]+$") and not text:lower():find("^utf%-8'") then return text end
  return (text:gsub("[^!-$&(-~]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

local function lasts(value, otherwise)
  if value == nil then return otherwise end
  if type(value) ~= "number" or value < 0 then return nil end
  return value
end

-- What Envoy does not look at in a token is looked at here: times that are none, what it was made for, extensions.
local function is_accepted(claims, header, leeway, types)
  local now = os.time()
  local from, issued = lasts(claims.nbf, 0), lasts(claims.iat, 0)
  local ends = lasts(claims.exp, math.huge)
  if not from or not issued or not ends or header.crit or header.b64 ~= nil then return false end
  if from > now + leeway or issued > now + leeway or ends + leeway <= now then return false end
  for _, each in ipairs(types) do
    if header.typ == nil or tostring(header.typ):lower():gsub("^application/", "") == each then return true end
  end
  return false
end

-- Only one spelling of a token is right: base64url without padding, and not too long.
local function is_spelt(authorization)
  local token = (authorization or ""):match("^[Bb][Ee][Aa][Rr][Ee][Rr] +(.-) *$")
  return not token or (#token <= 8192 and not token:find("[^%w%.%-_]"))
end

local function refuse(handle, reason)
  local id, path = handle:headers():get("x-request-id"), handle:headers():get(":path"):match("^[^?]*")
  handle:respond({
    [":status"] = "401",
    ["www-authenticate"] = 'Bearer realm="portico", error="invalid_token"',
    ["content-type"] = "application/problem+json",
  }, ('{"type":"about:blank","title":"Unauthorized","status":401,"detail":"the token is not accepted",'
    .. '"instance":"%s","request_id":"%s","reason":"%s"}'):format(path:gsub('[%c"\\]', "?"), id, reason))
end

-- A name for a field: nothing for one with control characters or separators of lines.
local function named(text)
  if text:find("%c") or text:find("\194[\128-\159]") or text:find("\226\128[\168\169]") then return nil end
  return encoded(text)
end

local function scopes_of(claims)
  local said = claims.scope or claims.scopes or claims.scp or {}
  local found = {}
  if type(said) == "string" then
    local words = {}
    for word in said:gmatch("%S+") do words[#words + 1] = word end
    said = words
  end
  if type(said) ~= "table" or (next(said) ~= nil and type(next(said)) ~= "number") then return nil end
  for _, word in ipairs(said) do
    if type(word) ~= "string" or word:find("%s") then return nil end
    local shown = named(word)
    if not shown then return nil end
    if word ~= "" then found[#found + 1] = shown end
  end
  return table.concat(found, " ")
end

local function consumer_of(claims)
  for _, name in ipairs({"username", "preferred_username", "sub"}) do
    local value = claims[name]
    if value ~= nil and type(value) ~= "string" then return nil end
    if value and value ~= "" then return named(value) end
  end
  return ""
end

local function tell(fields, consumer, scopes)
  if consumer ~= "" and #consumer <= 1024 then fields:replace("x-consumer-username", consumer) end
  if scopes ~= "" and #scopes <= 8192 then fields:replace("x-consumer-scopes", scopes) end
end

local function identify(handle, route)
  local verified = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  local claims, header = verified and verified.token, verified and verified.header
  if not claims then return true end
  local fields = handle:headers()
  local consumer, scopes = consumer_of(claims), scopes_of(claims)
  local accepted = is_accepted(claims, header or {}, route:get("leeway"), route:get("types"))
  if not consumer or not scopes or not accepted or not is_spelt(fields:get("authorization")) then
    refuse(handle, "credentials_invalid")
    return false
  end
  tell(fields, consumer, scopes)
  return true
end

-- Whom the service that was asked has named.
local function introduce(handle, route)
  local fields, said = handle:headers(), route:get("answer")
  local consumer = named(said.consumer and fields:get(said.consumer) or "")
  local words = {}
  for word in (said.scopes and fields:get(said.scopes) or ""):gsub(",", " "):gmatch("%S+") do
    words[#words + 1] = named(word) or ""
  end
  tell(fields, consumer or "", table.concat(words, " "))
  for _, name in ipairs(said.dropped or {}) do fields:remove(name) end
end

function envoy_on_request(handle)
  local fields, route = handle:headers(), handle:metadata()
  if route:get("types") and not identify(handle, route) then return end
  if route:get("answer") then introduce(handle, route) end
  local prefix = route:get("prefix")
  if prefix then fields:replace("x-forwarded-prefix", prefix) end
  local slash, method = route:get("slash"), fields:get(":method")
  local asked = fields:get(":path")
  if slash and (method == "GET" or method == "HEAD") and asked:match("^[^?]*") == slash then
    local accepts = (fields:get("accept") or ""):lower()
    if accepts:find("^%s*text/html") or accepts:find("^%s*application/xhtml%+xml") then
      local there = "./" .. slash:match("[^/]*$") .. "/" .. asked:sub(#slash + 1)
      handle:respond({[":status"] = "307", ["location"] = there, ["vary"] = "Accept"}, "")
      return
    end
    handle:streamInfo():dynamicMetadata():set(NAME, "varies", true)
  end
  if route:get("has_query") then
    handle:streamInfo():dynamicMetadata():set(NAME, "query", asked:match("%?(.*)$") or "")
  end
  if prefix then handle:streamInfo():dynamicMetadata():set(NAME, "host", fields:get(":authority")) end
end

local function is_below(path, prefix)
  return path:sub(1, #prefix) == prefix and (path:sub(#prefix + 1):find("^[/?#]") or #path == #prefix)
end

-- The path by which clients get to what the service calls `path`; nil where it is not below `base`.
local function public(path, prefix, base)
  if path:sub(1, #base) == base and path:sub(#base + 1, #base + 1) ~= "/" then
    return prefix .. "/" .. path:sub(#base + 1)
  end
end

local function url(value, route, host)
  local prefix, base = route:get("prefix"), route:get("base")
  local scheme, authority, path = value:match("^([a-zA-Z]*:?)//([^/?#]*)(.*)$")
  if not authority then
    if not value:find("^/") or is_below(value, prefix) then return value end
    return public(value, prefix, base) or value
  end
  local own = authority:lower() == (host or ""):lower()
  for _, each in ipairs(route:get("instances") or {}) do own = own or each == authority:lower() end
  if not own or not (scheme == "" or scheme:lower():find("^https?:$")) or is_below(path, prefix) then return value end
  return public(path == "" and "/" or path, prefix, base) or value
end

local function cookie(value, route)
  local prefix, base = route:get("prefix"), route:get("base")
  if value:find("^%s*__[Hh][Oo][Ss][Tt]%-") then return value end
  return (value:gsub("(;%s*[Pp][Aa][Tt][Hh]%s*=%s*)(/[^;]*)", function(name, path)
    local above = path:gsub("/$", "") .. "/"
    if base:sub(1, #above) == above then return name .. prefix end
    return name .. (public(path, prefix, base) or path)
  end))
end

function envoy_on_response(handle)
  local fields, route = handle:headers(), handle:metadata()
  local said = handle:streamInfo():dynamicMetadata():get(NAME) or {}
  if said.varies then fields:add("vary", "Accept") end
  local location = fields:get("location")
  if location and route:get("has_query") then
    if said.query == "" then
      location = location:gsub("{}{query}$", ""):gsub("{}{query}#", "#"):gsub("&{query}", ""):gsub("{query}&?", "")
    end
    location = location:gsub("{}", "?"):gsub("{query}", (said.query:gsub("%%", "%%%%")))
    fields:replace("location", location)
  end
  if location and route:get("is_path") then
    fields:replace("location", (location:gsub("^[a-z]*://[^/?#]*", "", 1)))
  end
  local base, kept = route:get("base"), table.concat(route:get("kept") or {}, " ")
  if base and not kept:find("location") then
    for _, name in ipairs({"location", "content-location"}) do
      local value = fields:get(name)
      if value then fields:replace(name, url(value, route, said.host)) end
    end
  end
  if base and not kept:find("cookies") and fields:get("set-cookie") then
    local found = {}
    for index = 0, fields:getNumValues("set-cookie") - 1 do
      found[#found + 1] = cookie(fields:getAtIndex("set-cookie", index), route)
    end
    fields:remove("set-cookie")
    for _, value in ipairs(found) do fields:add("set-cookie", value) end
  end
end
""".lstrip()


def script(text: str) -> Section:
    """A filter that runs a script."""
    return typed(f"{HTTP}lua.v3.Lua", {"clear_route_cache": False, "default_source_code": {"inline_string": text}})
