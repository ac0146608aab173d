"""What Envoy has no words for, in Lua: ids of requests, and the way back of redirects and cookies.

What a route's script is told stands in its metadata, under the name of the filter.
"""

from __future__ import annotations

from typing import Final

IDS: Final = """\
-- The path as it was sent, and ids as Portico's: 32 hexadecimal digits, whose second half is the span (W3C).
function envoy_on_request(handle)
  local fields = handle:headers()
  handle:streamInfo():dynamicMetadata():set("portico", "path", fields:get(":path"):match("^[^?]*"))
  local id = fields:get("x-request-id"):gsub("-", "")
  fields:replace("x-request-id", id)
  fields:replace("traceparent", "00-" .. id .. "-" .. id:sub(17) .. "-00")
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

-- The claims of a token that is accepted; what Envoy does not look at is looked at here.
local function is_accepted(claims, leeway)
  local now = os.time()
  local from, issued = lasts(claims.nbf, 0), lasts(claims.iat, 0)
  local ends = lasts(claims.exp, math.huge)
  if not from or not issued or not ends then return false end
  return from <= now + leeway and issued <= now + leeway and ends + leeway > now
end

local function refuse(handle, reason)
  handle:respond({
    [":status"] = "401",
    ["www-authenticate"] = 'Bearer realm="portico", error="invalid_token"',
    ["content-type"] = "application/problem+json",
  }, ('{"type":"about:blank","title":"Unauthorized","status":401,"reason":"%s"}'):format(reason))
end

local function scopes_of(claims)
  local said = claims.scope or claims.scopes or claims.scp or {}
  local found = {}
  if type(said) == "string" then
    for word in said:gmatch("%S+") do found[#found + 1] = encoded(word) end
  elseif type(said) == "table" then
    for _, word in ipairs(said) do
      if type(word) ~= "string" or word:find("%s") then return nil end
      if word ~= "" then found[#found + 1] = encoded(word) end
    end
  else
    return nil
  end
  return table.concat(found, " ")
end

local function consumer_of(claims)
  for _, name in ipairs({"username", "preferred_username", "sub"}) do
    local value = claims[name]
    if value ~= nil and type(value) ~= "string" then return nil end
    if value and value ~= "" then return value:find("%c") and "" or encoded(value) end
  end
  return ""
end

local function identify(handle, leeway)
  local verified = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  local claims = verified and verified.token
  if not claims then return true end
  local consumer, scopes = consumer_of(claims), scopes_of(claims)
  if not consumer or not scopes or not is_accepted(claims, leeway) then
    refuse(handle, "credentials_invalid")
    return false
  end
  local fields = handle:headers()
  if consumer ~= "" then fields:replace("x-consumer-username", consumer) end
  if scopes ~= "" then fields:replace("x-consumer-scopes", scopes) end
  return true
end

function envoy_on_request(handle)
  local fields, route = handle:headers(), handle:metadata()
  local leeway = route:get("leeway")
  if leeway and not identify(handle, leeway) then return end
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
  if route:get("back") then
    for _, name in ipairs({"location", "content-location"}) do
      local value = fields:get(name)
      if value then fields:replace(name, url(value, route, said.host)) end
    end
  end
  if route:get("cookies") and fields:get("set-cookie") then
    local found = {}
    for index = 0, fields:getNumValues("set-cookie") - 1 do
      found[#found + 1] = cookie(fields:getAtIndex("set-cookie", index), route)
    end
    fields:remove("set-cookie")
    for _, value in ipairs(found) do fields:add("set-cookie", value) end
  end
end
""".lstrip()
