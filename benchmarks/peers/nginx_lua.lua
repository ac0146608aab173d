-- What Portico does per request and nginx does not by itself: JWT with a cache of verified tokens, a token
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
  typedef struct evp_pkey_st EVP_PKEY;
  typedef struct evp_md_ctx_st EVP_MD_CTX;
  EVP_PKEY *d2i_PUBKEY(EVP_PKEY **made, const unsigned char **der, long len);
  EVP_MD_CTX *EVP_MD_CTX_new(void);
  int EVP_MD_CTX_reset(EVP_MD_CTX *context);
  int EVP_DigestVerifyInit(EVP_MD_CTX *context, void *, const EVP_MD *md, void *, EVP_PKEY *key);
  int EVP_DigestVerify(EVP_MD_CTX *context, const unsigned char *signature, size_t signature_len,
                       const unsigned char *data, size_t data_len);
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

local context = crypto.EVP_MD_CTX_new()
local public_keys = {}

-- As tokens name the algorithm, and the key in DER and Base64.
function M.use_key(algorithm, text)
  local der = ngx.decode_base64(text)
  public_keys[algorithm] = crypto.d2i_PUBKEY(nil, ffi.new("const unsigned char *[1]", ffi.cast("const unsigned char *", der)), #der)
  assert(public_keys[algorithm] ~= nil)
end

local function integer(bytes)
  bytes = bytes:gsub("^%z+", "")
  if bytes == "" or bytes:byte() >= 128 then bytes = "\0" .. bytes end
  return "\2" .. string.char(#bytes) .. bytes
end

-- Of ECDSA tokens have two numbers of 32 bytes, and OpenSSL takes them in DER.
local function in_der(signature)
  local numbers = integer(signature:sub(1, 32)) .. integer(signature:sub(33))
  return "\48" .. string.char(#numbers) .. numbers
end

local function signature_holds(algorithm, signed, signature)
  local key = public_keys[algorithm]
  if key then
    if algorithm == "ES256" then signature = in_der(signature) end
    crypto.EVP_MD_CTX_reset(context)
    local hash = algorithm ~= "EdDSA" and crypto.EVP_sha256() or nil
    return crypto.EVP_DigestVerifyInit(context, nil, hash, nil, key) == 1
      and crypto.EVP_DigestVerify(context, signature, #signature, signed, #signed) == 1
  end
  if algorithm ~= "HS256" then return false end
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
  local algorithm = head_text:match('"alg"%s*:%s*"(%w+)"')
  if not signature_holds(algorithm, head .. "." .. claims, signature_bytes) then return nil end
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
