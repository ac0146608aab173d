-- What nginx cannot check by itself: tokens, API keys, what a consumer may do, and limits for each consumer.
-- Written by portico render nginx --lua. nginx.conf says by portico.guard what each route asks for.
local base64 = require "ngx.base64"
local cjson = require("cjson").new()
local ffi = require "ffi"
local lrucache = require "resty.lrucache"

cjson.decode_invalid_numbers(false) -- NaN and hexadecimal numbers are none of JSON
cjson.decode_max_depth(100)

ffi.cdef [[
  typedef struct evp_md_st EVP_MD;
  typedef struct evp_pkey_st EVP_PKEY;
  typedef struct evp_md_ctx_st EVP_MD_CTX;
  typedef struct evp_pkey_ctx_st EVP_PKEY_CTX;
  const EVP_MD *EVP_sha256(void);
  const EVP_MD *EVP_sha384(void);
  const EVP_MD *EVP_sha512(void);
  unsigned char *SHA256(const unsigned char *data, size_t size, unsigned char *digest);
  unsigned char *HMAC(const EVP_MD *md, const void *key, int key_len, const unsigned char *data, size_t data_len,
                      unsigned char *digest, unsigned int *digest_len);
  int CRYPTO_memcmp(const void *a, const void *b, size_t len);
  EVP_PKEY *d2i_PUBKEY(EVP_PKEY **made, const unsigned char **der, long len);
  EVP_MD_CTX *EVP_MD_CTX_new(void);
  int EVP_MD_CTX_reset(EVP_MD_CTX *context);
  int EVP_DigestVerifyInit(EVP_MD_CTX *context, EVP_PKEY_CTX **of_key, const EVP_MD *md, void *, EVP_PKEY *key);
  int EVP_DigestVerify(EVP_MD_CTX *context, const unsigned char *signature, size_t signature_len,
                       const unsigned char *data, size_t data_len);
  int EVP_PKEY_CTX_set_rsa_padding(EVP_PKEY_CTX *context, int padding);
  int EVP_PKEY_CTX_set_rsa_pss_saltlen(EVP_PKEY_CTX *context, int size);
  void ERR_clear_error(void);
]]

local M = {}
local crypto = ffi.C -- nginx itself is linked with libcrypto
local context = crypto.EVP_MD_CTX_new()
local digest, digest_len = ffi.new("unsigned char[64]"), ffi.new("unsigned int[1]")
local of_key = ffi.new("EVP_PKEY_CTX *[1]")
local hashes = { ["256"] = crypto.EVP_sha256(), ["384"] = crypto.EVP_sha384(), ["512"] = crypto.EVP_sha512() }
local sizes = { ["256"] = 32, ["384"] = 48, ["512"] = 64 }
local of_curves = { ES256 = 32, ES384 = 48, ES512 = 66 }
local PSS, SALT_AS_LONG_AS_THE_HASH = 6, -1
local LONGEST_TOKEN, LATEST, BELIEVED = 8192, 2 ^ 53, 300

local guards = {}
local verified -- by guard and token: whom a token named, so that it is not verified again

-- ---- what is answered

local titles = { [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [429] = "Too Many Requests" }

local function refuse(status, reason, detail, challenges)
  local body = cjson.encode {
    type = "about:blank", title = titles[status], status = status, detail = detail, instance = ngx.var.path,
    request_id = ngx.var.request_id, reason = reason,
  }:gsub("\\/", "/")
  ngx.status = status
  ngx.header["Content-Type"] = "application/problem+json"
  ngx.header["Content-Length"] = #body
  ngx.header["Cache-Control"] = "no-store"
  if challenges and #challenges > 0 then ngx.header["WWW-Authenticate"] = challenges end
  ngx.print(body)
  return ngx.exit(ngx.HTTP_OK)
end

local INVALID_TOKEN = { 'Bearer realm="portico", error="invalid_token"' }
local INVALID_KEY = { 'ApiKey realm="portico", error="invalid_key"' }

local function invalid(detail)
  return { status = 401, reason = "credentials_invalid", detail = "the token is not valid: " .. detail,
           challenges = INVALID_TOKEN }
end
local expired = { status = 401, reason = "credentials_expired", detail = "the token has expired",
                  challenges = INVALID_TOKEN }
local unknown_key = { status = 401, reason = "credentials_invalid", detail = "the API key is unknown or revoked",
                      challenges = INVALID_KEY }

-- ---- text and JSON

local function is_text(bytes)
  local _, _, problem = ngx.re.find(bytes, ".", "u")
  return not problem
end

-- A name or scope has no control characters, nor what ends a line.
local function is_name(text)
  return not (text:find("[%z\1-\31\127]") or text:find("\194[\128-\159]") or text:find("\226\128[\168\169]"))
end

local function in_visible_ascii(text)
  if text:find("^[!-$&-~]+$") and text:sub(1, 6):lower() ~= "utf-8'" then return text end
  return (text:gsub("[^!-$&(-~]", function(byte) return string.format("%%%02X", byte:byte()) end))
end

local function object(bytes)
  if not bytes:find("^[ \t\r\n]*{") or not is_text(bytes) then return nil end
  local is_json, value = pcall(cjson.decode, bytes)
  return is_json and type(value) == "table" and value or nil
end

local function decoded(part)
  if not part:find("^[%w_-]*$") then return nil end
  local bytes = base64.decode_base64url(part)
  -- Of its spellings one is right.
  return bytes and base64.encode_base64url(bytes) == part and bytes or nil
end

local function said(value)
  if value == cjson.null then return nil end
  return value
end

-- ---- tokens

local function integer(bytes)
  bytes = bytes:gsub("^%z+", "")
  if bytes == "" or bytes:byte() >= 128 then bytes = "\0" .. bytes end
  return "\2" .. string.char(#bytes) .. bytes
end

-- Of ECDSA tokens have two numbers, and OpenSSL takes them in DER.
local function in_der(signature, size)
  if #signature ~= 2 * size then return nil end
  local numbers = integer(signature:sub(1, size)) .. integer(signature:sub(size + 1))
  local length = #numbers < 128 and string.char(#numbers) or "\129" .. string.char(#numbers)
  return "\48" .. length .. numbers
end

local function is_by_secret(algorithm, secret, signed, signature)
  local bits = algorithm:sub(3)
  crypto.HMAC(hashes[bits], secret, #secret, signed, #signed, digest, digest_len)
  return #signature == sizes[bits] and crypto.CRYPTO_memcmp(digest, signature, #signature) == 0
end

local function is_by_key(algorithm, key, signed, signature)
  if of_curves[algorithm] then
    signature = in_der(signature, of_curves[algorithm])
    if not signature then return false end
  end
  crypto.EVP_MD_CTX_reset(context)
  local is_right = crypto.EVP_DigestVerifyInit(context, of_key, hashes[algorithm:sub(3)], nil, key) == 1
  if is_right and algorithm:sub(1, 2) == "PS" then
    is_right = crypto.EVP_PKEY_CTX_set_rsa_padding(of_key[0], PSS) == 1
      and crypto.EVP_PKEY_CTX_set_rsa_pss_saltlen(of_key[0], SALT_AS_LONG_AS_THE_HASH) == 1
  end
  is_right = is_right and crypto.EVP_DigestVerify(context, signature, #signature, signed, #signed) == 1
  crypto.ERR_clear_error() -- else TLS would find what is left there
  return is_right
end

-- A key is for its own algorithms: what a token says of itself chooses among them and nothing else.
local function is_signed(issuer, header, signed, signature)
  local algorithm = header.alg
  for _, key in ipairs(issuer.keys) do
    if key.algorithms[algorithm] and (not said(header.kid) or not key.kid or key.kid == header.kid) then
      if key.secret then
        if is_by_secret(algorithm, key.secret, signed, signature) then return true end
      elseif is_by_key(algorithm, key.public, signed, signature) then
        return true
      end
    end
  end
  return false
end

local function is_optional_text(value)
  return value == nil or value == cjson.null or type(value) == "string"
end

local function time_of(claims, name, otherwise)
  local value = claims[name]
  if value == nil then return otherwise end
  if type(value) ~= "number" or value < 0 or value > LATEST then return nil end
  return value
end

local function is_for(audience, wanted)
  if type(audience) == "string" then audience = { audience } end
  if type(audience) ~= "table" then return false end
  local is_one = false
  for key, each in pairs(audience) do
    if type(key) ~= "number" or type(each) ~= "string" then return false end
    is_one = is_one or wanted[each] == true
  end
  return is_one
end

-- Until when claims hold, else why they do not.
local function ends(claims, issuer, now)
  for _, name in ipairs(issuer.required_claims) do
    if said(claims[name]) == nil then return nil, invalid("it has no " .. name .. " claim") end
  end
  if issuer.require_expiry and claims.exp == nil then
    return nil, invalid("it has no exp claim, so it would never end")
  end
  if issuer.audience and not is_for(claims.aud, issuer.audience) then
    return nil, invalid("it is for somebody else: its aud is none of those that are accepted")
  end
  local from, made = time_of(claims, "nbf", now), time_of(claims, "iat", now)
  local last = time_of(claims, "exp", LATEST)
  if not (from and made and last) then return nil, invalid("its exp, nbf or iat is not a time in seconds") end
  if from > now + issuer.leeway or made > now + issuer.leeway then return nil, invalid("it is not valid yet") end
  if last + issuer.leeway <= now then return nil, expired end
  return last + issuer.leeway
end

local function consumer_of(claims)
  for _, name in ipairs { "username", "preferred_username", "sub" } do
    local value = said(claims[name])
    if value ~= nil and (type(value) ~= "string" or not is_name(value)) then return nil end
    if value and value ~= "" then return value end
  end
  return ""
end

local function words(text)
  local found = {}
  for each in text:gmatch("%S+") do found[#found + 1] = each end
  return found
end

local function scopes_of(claims)
  local value = claims.scope
  if value == nil then value = claims.scopes end
  if value == nil then value = claims.scp end
  if value == nil then return {} end
  if type(value) == "string" then value = words(value) end
  if type(value) ~= "table" then return nil end
  local scopes = {}
  for key, each in pairs(value) do
    if type(key) ~= "number" or type(each) ~= "string" or each:find("%s") or not is_name(each) then return nil end
    if each ~= "" then scopes[#scopes + 1] = each end
  end
  return scopes
end

-- Whom a token names, else why it is refused.
local function identity_of(token, settings)
  if #token > LONGEST_TOKEN then return nil, invalid("it is longer than " .. LONGEST_TOKEN .. " bytes") end
  local head, content, mark = token:match("^([^.]*)%.([^.]*)%.([^.]*)$")
  if not head then return nil, invalid("it has not three parts") end
  local header_text, claims_text, signature = decoded(head), decoded(content), decoded(mark)
  if not (header_text and claims_text and signature) then
    return nil, invalid("its parts are not base64url without padding (RFC 7515, section 2)")
  end
  local header, claims = object(header_text), object(claims_text)
  if not (header and claims) then return nil, invalid("its header or its claims are no JSON object") end
  if header.crit ~= nil or header.b64 ~= nil then
    return nil, invalid("it asks for extensions that are not supported (crit, b64)")
  end
  if type(header.alg) ~= "string" or not is_optional_text(header.kid) or not is_optional_text(header.typ) then
    return nil, invalid("its alg, kid or typ is no text")
  end
  local issuer = type(claims.iss) == "string" and settings.issuers[claims.iss] or nil
  if not issuer then
    issuer = settings.other
    if not issuer or (issuer.issuer and issuer.issuer ~= claims.iss) then
      return nil, invalid("its issuer is not accepted")
    end
  end
  if not issuer.algorithms[header.alg] then return nil, invalid("its algorithm is not accepted") end
  if not is_signed(issuer, header, head .. "." .. content, signature) then
    return nil, invalid("its signature is not right")
  end
  local kind = said(header.typ)
  if kind and not issuer.types[(kind:lower():gsub("^application/", ""))] then
    return nil, invalid("it is of another type: its typ is none of those that are accepted")
  end
  if claims.cnf ~= nil then return nil, invalid("it is bound to a key, which cannot be checked here") end
  local now = ngx.time()
  local last, refusal = ends(claims, issuer, now)
  if not last then return nil, refusal end
  local consumer, scopes = consumer_of(claims), scopes_of(claims)
  if not consumer then return nil, invalid("its username or sub is not text") end
  if not scopes then return nil, invalid("its scopes are neither text nor a list of texts") end
  return { consumer = consumer, scopes = scopes, claims = claims, ends = math.min(last, now + BELIEVED) }
end

local function known(guard, token, settings)
  local key = guard .. " " .. token
  local identity, refusal = verified:get(key), nil
  if identity and identity.ends > ngx.time() then return identity end
  identity, refusal = identity_of(token, settings)
  if identity then verified:set(key, identity) end
  return identity, refusal
end

-- ---- where credentials are

-- The one value of a field; false where it is there more than once.
local function field(name)
  local value = ngx.req.get_headers(0)[name]
  if type(value) == "table" then return false end
  return value
end

local function unescaped(text, plus)
  return (text:gsub("%+", plus):gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- The values of a parameter in any spelling; the service gets the query without it.
local function take_parameter(name)
  local query = ngx.var.kept_query or ""
  local kept, values = {}, {}
  for pair in (query:sub(2) .. "&"):gmatch("([^&]*)&") do
    local own, value = pair:match("^([^=]*)=?(.*)$")
    if unescaped(own, " ") == name then values[#values + 1] = unescaped(value, "+") else kept[#kept + 1] = pair end
  end
  if #values > 0 then ngx.var.kept_query = #kept > 0 and "?" .. table.concat(kept, "&") or "" end
  return values
end

local function cookies(name)
  local values = {}
  for pair in ((ngx.var.http_cookie or "") .. ";"):gmatch("([^;]*);") do
    local own, value = pair:match("^%s*([^=]*)=(.-)%s*$")
    if own == name and value ~= "" then values[#values + 1] = value end
  end
  return values
end

local twice = { status = 401, reason = "credentials_missing", detail = "send one token, in one place",
                challenges = { 'Bearer realm="portico"' } }

-- A token, or why there is none; neither where no credentials of the kind are shown.
local function token_of(settings)
  local authorization = field("authorization")
  for _, place in ipairs(settings.from) do
    if place.query then
      local values = take_parameter(place.query)
      if #values > 1 or (#values == 1 and authorization ~= nil) then return nil, twice end
      if #values == 1 then return values[1] end
    end
  end
  for _, place in ipairs(settings.from) do
    if place.header then
      if authorization == false then return nil, twice end
      if authorization and authorization:sub(1, 6):lower():find("^bearer ?$") and
        (#authorization == 6 or authorization:sub(7, 7) == " ") then
        return (authorization:sub(8):gsub("^%s+", ""):gsub("%s+$", ""))
      end
    elseif place.cookie then
      local values = cookies(place.cookie)
      if #values > 1 then return nil, twice end
      if #values == 1 then return values[1] end
    end
  end
end

-- Each gives an identity, or why there is none; neither where it finds no credentials of its kind.
local methods = {}

function methods.jwt(guard, settings)
  local token, refusal = token_of(settings)
  if not token then return nil, refusal end
  return known(guard, token, settings)
end

function methods.api_key(_, settings, consumers)
  local key
  if settings.query then
    local values = take_parameter(settings.query)
    if #values > 1 then return nil, settings.several end
    key = values[1]
  else
    key = field(settings.header)
    if key == false then return nil, settings.several end
  end
  if not key then return nil end
  key = key:gsub("^%s+", ""):gsub("%s+$", "")
  crypto.SHA256(key, #key, digest)
  local found = consumers[ngx.encode_base64(ffi.string(digest, 32))]
  if not found then return nil, unknown_key end
  return { consumer = found.name, scopes = found.scopes, claims = {} }
end

-- ---- what a consumer may do

local function value_at(claims, path)
  for _, part in ipairs(path) do
    if type(claims) ~= "table" then return nil end
    local own = claims[part]
    if own == nil and part:find("^%d+$") and (part == "0" or part:sub(1, 1) ~= "0") then
      own = claims[tonumber(part) + 1]
    end
    claims = own
  end
  return said(claims)
end

local function fits(value, wanted)
  if type(wanted) == "boolean" then return (value ~= nil and value ~= false) == wanted end
  local held = value
  if type(value) ~= "table" then held = { value } end
  for _, one in ipairs(held) do
    for _, other in ipairs(wanted) do
      if one == other then return true end
    end
  end
  return false
end

local function have_all(claims, wanted)
  for _, each in ipairs(wanted) do
    if not fits(value_at(claims, each.path), each.values) then return false end
  end
  return true
end

local function with_scope(scopes, detail)
  local shown = {}
  for index, each in ipairs(scopes) do shown[index] = in_visible_ascii(each):gsub('[\\"]', "\\%0") end
  local challenge = 'Bearer realm="portico", error="insufficient_scope", scope="' .. table.concat(shown, " ") .. '"'
  return refuse(403, "scope_missing", detail .. table.concat(scopes, " "), { challenge })
end

local function require_all(needed, identity)
  local held = {}
  for _, each in ipairs(identity.scopes) do held[each] = true end
  for _, each in ipairs(needed.scopes) do
    if not held[each] then return with_scope(needed.scopes, "this needs the scopes: ") end
  end
  local has_one = #needed.any_scopes == 0
  for _, each in ipairs(needed.any_scopes) do has_one = has_one or held[each] end
  if not has_one then return with_scope(needed.any_scopes, "this needs one of the scopes: ") end
  if not have_all(identity.claims, needed.claims) then
    return refuse(403, "access_denied", "this is not for everybody")
  end
end

local function is_denied(rule, identity)
  if rule.others and ngx.var[rule.others] ~= "1" then return false end
  if rule.consumer == true and not identity.consumer then return false end
  if type(rule.consumer) == "table" and not rule.consumer[identity.consumer or false] then return false end
  return have_all(identity.claims, rule.claims)
end

-- ---- limits

local periods = { hour = 3600, day = 86400 }

-- Which period it is, and for how many seconds it lasts.
local function period_now(name, now)
  local seconds = periods[name]
  if seconds then return math.floor(now / seconds), seconds - now % seconds end
  local date = os.date("!*t", now)
  local days = os.date("!*t", os.time { year = date.year, month = date.month + 1, day = 0, hour = 12 }).day
  local gone = ((date.day - 1) * 24 + date.hour) * 3600 + date.min * 60 + date.sec
  return date.year * 12 + date.month, days * 86400 - gone
end

-- Workers share what is counted, and one at a time looks at it: nothing between this and unlock gives way.
local function lock(counted, name)
  local waited = 0
  while not counted:add(name, true, 1) and waited < 1000 do
    ngx.sleep(0.001)
    waited = waited + 1
  end
end

local function counted_by(limit, identity)
  if limit.by == "consumer" then return identity.consumer or "" end
  if limit.by == "client_ip" then return ngx.var.binary_remote_addr end
  return field(limit.by) or ""
end

local function look(counted, limit, numbers, who, now, found)
  local wait = 0
  if numbers.rate then
    local key, per_second = limit.key .. ":rate:" .. who, numbers.rate / 60
    local tokens, at = (counted:get(key) or ""):match("^(%S+) (%S+)$")
    tokens = tokens and math.min(numbers.burst, tokens + (now - at) * per_second) or numbers.burst
    if tokens < 1 then wait = math.ceil((1 - tokens) / per_second) end
    local state = string.format("%.9f %.3f", tokens - 1, now)
    found[#found + 1] = function() counted:set(key, state, numbers.burst / per_second + 1) end
  end
  for _, each in ipairs(numbers.quotas) do
    local period, left = period_now(each.period, now)
    local key = limit.key .. ":" .. each.period .. ":" .. period .. ":" .. who
    if (counted:get(key) or 0) >= each.most then wait = math.max(wait, math.ceil(left)) end
    found[#found + 1] = function() counted:incr(key, 1, 0, left + 1) end
  end
  return wait
end

-- A request counts against all of these limits or, where one refuses it, against none.
local function count(limits, identity)
  for _, limit in ipairs(limits) do
    if limit.by ~= "consumer" and limit.by ~= "client_ip" and field(limit.by) == false then
      return refuse(400, "malformed_request", limit.by .. " comes more than once, and requests are counted by it")
    end
  end
  local counted, now, wait, found = ngx.shared.portico, ngx.now(), 0, {}
  lock(counted, limits[1].key)
  for _, limit in ipairs(limits) do
    local who = counted_by(limit, identity)
    local numbers = limit.by == "consumer" and limit.owns[who] or limit.numbers
    wait = math.max(wait, look(counted, limit, numbers, who, now, found))
  end
  if wait == 0 then
    for _, take in ipairs(found) do take() end
  end
  counted:delete(limits[1].key)
  if wait > 0 then
    ngx.var.wait = "429 " .. wait
    return refuse(429, "rate_limited", "too many requests")
  end
end

-- ---- what nginx.conf says

local function set_of(list)
  local found = {}
  for _, each in ipairs(list) do found[each] = true end
  return found
end

local function loaded_issuer(issuer)
  issuer.issuer = said(issuer.issuer)
  issuer.algorithms, issuer.types = set_of(issuer.algorithms), set_of(issuer.types)
  issuer.audience = said(issuer.audience) and set_of(issuer.audience)
  for _, key in ipairs(issuer.keys) do
    key.algorithms, key.kid = set_of(key.algorithms), said(key.kid)
    if key.env then
      key.secret = os.getenv(key.env)
      if not key.secret or #key.secret < key.size then
        error("the secret of tokens has to be in the environment, as " .. key.env .. ", of " .. key.size .. " bytes or more")
      end
    else
      local der = ngx.decode_base64(key.der)
      key.public = crypto.d2i_PUBKEY(nil, ffi.new("const unsigned char *[1]", ffi.cast("const unsigned char *", der)), #der)
      if key.public == nil then error("a public key cannot be read") end
    end
  end
  return issuer
end

local function loaded_limits(limits)
  for _, limit in ipairs(limits) do
    for _, numbers in pairs(limit.owns) do numbers.rate, numbers.burst = said(numbers.rate), said(numbers.burst) end
    limit.numbers.rate, limit.numbers.burst = said(limit.numbers.rate), said(limit.numbers.burst)
  end
  return limits
end

-- What a route, or several, ask for; as JSON.
function M.guard(name, text)
  local guard = cjson.decode(text)
  verified = verified or assert(lrucache.new(4096))
  guard.before, guard.limits = loaded_limits(guard.before), loaded_limits(guard.limits)
  for _, method in ipairs(guard.methods) do
    if method.kind == "jwt" then
      method.other = said(method.other) and loaded_issuer(method.other)
      for _, each in pairs(method.issuers) do loaded_issuer(each) end
    end
  end
  for _, rule in ipairs(guard.deny) do
    rule.others = said(rule.others)
    rule.consumer = said(rule.consumer)
    if type(rule.consumer) == "table" then rule.consumer = set_of(rule.consumer) end
  end
  guard.authorize = said(guard.authorize)
  guard.asked = said(guard.asked)
  guard.missing = said(guard.missing)
  guards[name] = guard
end

-- API keys, by the Base64 of their SHA-256.
local consumers = {}
function M.consumers(text) consumers = cjson.decode(text) end

local function authenticate(name, guard)
  if guard.asked then -- a service was asked, by auth_request
    local who = guard.asked
    return { consumer = ngx.var[who.consumer] or "", scopes = words(ngx.var[who.scopes] or ""), claims = {} }
  end
  local identity, refusal
  for _, method in ipairs(guard.methods) do
    identity, refusal = methods[method.kind](name, method, consumers)
    if identity or refusal then break end
  end
  for _, each in ipairs(guard.withheld) do ngx.req.clear_header(each) end
  for _, each in ipairs(guard.withheld_parameters) do take_parameter(each) end
  if refusal then return refuse(refusal.status, refusal.reason, refusal.detail, refusal.challenges) end
  if not identity then
    if guard.missing then
      return refuse(401, "credentials_missing", guard.missing.detail, guard.missing.challenges)
    end
    return { scopes = {}, claims = {} }
  end
  local consumer, shown = in_visible_ascii(identity.consumer), {}
  for index, each in ipairs(identity.scopes) do shown[index] = in_visible_ascii(each) end
  local scopes = table.concat(shown, " ")
  ngx.var.consumer = #consumer <= 1024 and consumer or ""
  ngx.var.scopes = #scopes <= 8192 and scopes or ""
  return identity
end

-- Lets a request pass, or answers it. What goes wrong here lets nobody pass: nginx answers 500.
function M.check(name)
  local guard = guards[name]
  if #guard.before > 0 then count(guard.before, {}) end
  local identity = authenticate(name, guard)
  for _, rule in ipairs(guard.deny) do
    if is_denied(rule, identity) then
      return refuse(403, "request_denied", "requests of this kind are not accepted here")
    end
  end
  local needed = guard.authorize
  if needed then
    require_all(needed.always, identity)
    local more = needed.methods[ngx.req.get_method()]
    if more then require_all(more, identity) end
  end
  if #guard.limits > 0 then count(guard.limits, identity) end
end

return M
