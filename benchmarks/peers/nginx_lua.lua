-- What Portico does per request and nginx does not by itself: JWT (HS256) with a cache of verified tokens, a token
-- bucket per client whose state the client receives, counters and histograms, the times in the response.
-- Written for speed: no table per request, ngx.var where a copy of all headers is not needed.
local base64 = require "ngx.base64"
local ffi = require "ffi"
local lrucache = require "resty.lrucache"

ffi.cdef [[
  typedef struct evp_md_st EVP_MD;
  const EVP_MD *EVP_sha256(void);
  unsigned char *HMAC(const EVP_MD *md, const void *key, int key_len, const unsigned char *data, size_t data_len,
                      unsigned char *digest, unsigned int *digest_len);
  int CRYPTO_memcmp(const void *a, const void *b, size_t len);
]]

local M = {}
local crypto = ffi.C -- nginx itself is linked with libcrypto
local digest, digest_len = ffi.new("unsigned char[32]"), ffi.new("unsigned int[1]")
local verified = lrucache.new(4096)
local buckets = lrucache.new(4096)
local counters = ngx.shared.counters
local bounds = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local secret, per_second, burst, policy

function M.use_secret(value) secret = value end

function M.use_limit(per_minute, most)
  per_second, burst = per_minute / 60, most
  policy = string.format('"client_ip";q=%d;w=60', per_minute)
end

-- One bucket per address and worker, as Portico's in memory.
function M.limit()
  local client, now = ngx.var.binary_remote_addr, ngx.now()
  local bucket = buckets:get(client)
  if not bucket then
    bucket = { tokens = burst, at = now }
    buckets:set(client, bucket)
  end
  bucket.tokens = math.min(burst, bucket.tokens + (now - bucket.at) * per_second)
  bucket.at = now
  ngx.header["RateLimit-Policy"] = policy
  if bucket.tokens < 1 then
    local wait = math.ceil((1 - bucket.tokens) / per_second)
    ngx.header["RateLimit"] = '"client_ip";r=0;t=' .. wait
    ngx.header["Retry-After"] = wait
    return ngx.exit(429)
  end
  bucket.tokens = bucket.tokens - 1
  local until_full = math.ceil((burst - bucket.tokens) / per_second)
  ngx.header["RateLimit"] = string.format('"client_ip";r=%d;t=%d', bucket.tokens, until_full)
end

local function signature_holds(signed, signature)
  crypto.HMAC(crypto.EVP_sha256(), secret, #secret, signed, #signed, digest, digest_len)
  return #signature == 32 and crypto.CRYPTO_memcmp(digest, signature, 32) == 0
end

-- Returns { sub, scope, exp }, or nil. It runs once per token, so reading claims by pattern costs nothing
-- and spares a JSON library, which nginx's packages don't bring.
local function verify(token)
  local head, claims, signature = token:match("^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
  if not head then return nil end
  local head_text = base64.decode_base64url(head)
  local claims_text = base64.decode_base64url(claims)
  local signature_bytes = base64.decode_base64url(signature)
  if not (head_text and claims_text and signature_bytes) then return nil end
  if not head_text:find('"alg"%s*:%s*"HS256"') then return nil end
  if not signature_holds(head .. "." .. claims, signature_bytes) then return nil end
  local exp = tonumber(claims_text:match('"exp"%s*:%s*(%d+)'))
  return exp and {
    sub = claims_text:match('"sub"%s*:%s*"([^"\\]*)"') or "",
    scope = claims_text:match('"scope"%s*:%s*"([^"\\]*)"') or "",
    exp = exp,
  }
end

local function refuse()
  ngx.header["WWW-Authenticate"] = "Bearer"
  return ngx.exit(401)
end

function M.authenticate()
  local header = ngx.var.http_authorization
  if not header or header:sub(1, 7) ~= "Bearer " then return refuse() end
  local token = header:sub(8)
  local identity = verified:get(token)
  if not identity then
    identity = verify(token)
    if not identity then return refuse() end
    verified:set(token, identity)
  end
  if identity.exp <= ngx.time() then return refuse() end
  ngx.var.consumer = identity.sub
  ngx.var.scopes = identity.scope
end

function M.trace()
  local id = ngx.var.request_id
  ngx.var.traceparent = "00-" .. id .. "-" .. id:sub(17) .. "-01"
end

function M.show_times()
  local upstream = tonumber(ngx.var.upstream_header_time)
  if not upstream then return end -- none was asked, or more than one
  local own = ngx.now() - ngx.req.start_time() - upstream
  ngx.header["Server-Timing"] = string.format("gateway;dur=%.2f, upstream;dur=%.2f", own * 1000, upstream * 1000)
end

-- Keys of the shared dictionary, made once each: labels that come from a request index these tables.
local function keys(make)
  return setmetatable({}, { __index = function(known, label)
    known[label] = make(label)
    return known[label]
  end })
end
local requests = keys(function(method)
  return keys(function(status)
    return 'gateway_requests_total{service="bench",method="' .. method .. '",status="' .. status .. '"}'
  end)
end)
local function histogram(name)
  return keys(function(method)
    local labels = '{service="bench",method="' .. method .. '"'
    local found = { sum = name .. "_sum" .. labels .. "}" }
    for index = 1, #bounds + 1 do
      found[index] = name .. "_bucket" .. labels .. ',le="' .. (bounds[index] or "+Inf") .. '"}'
    end
    return found
  end)
end
local durations = histogram("gateway_request_duration_seconds")
local upstream_durations = histogram("gateway_upstream_duration_seconds")

-- Buckets are added up when they are read.
local function observe(names, seconds)
  local index = 1
  while bounds[index] and seconds > bounds[index] do index = index + 1 end
  counters:incr(names[index], 1, 0)
  counters:incr(names.sum, seconds, 0)
end

function M.count()
  local method = ngx.var.request_method
  counters:incr(requests[method][ngx.status], 1, 0)
  observe(durations[method], ngx.now() - ngx.req.start_time())
  local upstream = tonumber(ngx.var.upstream_header_time)
  if upstream then observe(upstream_durations[method], upstream) end
end

function M.report()
  for _, name in ipairs(counters:get_keys(0)) do ngx.say(name, " ", counters:get(name)) end
end

return M
