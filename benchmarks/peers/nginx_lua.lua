-- JWT (HS256) with a cache of verified tokens per worker, and counters that the workers share.
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
local counters = ngx.shared.counters
local bounds = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local secret

function M.use_secret(value) secret = value end

local function signature_holds(signed, signature)
  crypto.HMAC(crypto.EVP_sha256(), secret, #secret, signed, #signed, digest, digest_len)
  return #signature == 32 and crypto.CRYPTO_memcmp(digest, signature, 32) == 0
end

-- Returns { sub, exp }, or nil. It runs once per token, so reading two claims by pattern costs nothing
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
  return exp and { sub = claims_text:match('"sub"%s*:%s*"([^"\\]*)"') or "", exp = exp }
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
end

-- One counter and one histogram, as gateway_requests_total and gateway_request_duration_seconds are.
local requests = setmetatable({}, { __index = function(names, status)
  names[status] = "gateway_requests_total bench " .. status
  return names[status]
end })
local buckets = {}
for index = 1, #bounds + 1 do
  buckets[index] = "gateway_request_duration_seconds_bucket bench " .. (bounds[index] or "+Inf")
end

function M.count()
  local seconds = ngx.now() - ngx.req.start_time()
  local index = 1
  while bounds[index] and seconds > bounds[index] do index = index + 1 end
  counters:incr(requests[ngx.status], 1, 0)
  counters:incr(buckets[index], 1, 0)
  counters:incr("gateway_request_duration_seconds_sum bench", seconds, 0)
end

function M.report()
  for _, name in ipairs(counters:get_keys(0)) do ngx.say(name, " ", counters:get(name)) end
end

return M
