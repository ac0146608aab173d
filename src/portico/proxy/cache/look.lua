-- Looks for stored responses, each under its key; a hash holds all variants of one key.
--
-- KEYS  the hashes
-- ARGV  two for each: the version of it that the asker has already, and which of its variants was served last, or
--       "peek": then no use is noted
--
-- Returns the time in microseconds, then for each key 0: nothing is stored; 1: what the asker has is what is stored;
-- or its version, and three for each variant: name, description, and body, which is empty where it has to be read apart.
--
-- A hash has the fields v (its version), and for each variant m (its description), b (its body, unless that is kept in
-- pieces) and u (it was served since its turn to be evicted came last), followed by the variant's name.

local MOST_OF_KEY = 131072  -- bytes of bodies, about
local MOST_IN_ALL = 2097152

local left = MOST_IN_ALL
local peeks = false  -- whether the asker only wants to know what is there

local function note_use(key, variant)
  if peeks then return end
  redis.pcall('HSET', key, 'u' .. variant, 1)  -- a replica that must not be written to can be read all the same
end

local function whole(key, version)
  local answer, used = {version}, false
  local rest = math.min(MOST_OF_KEY, left)
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local kind = string.sub(field, 1, 1)
    local variant = string.sub(field, 2)
    if kind == 'm' then
      local body = rest > 0 and redis.call('HGET', key, 'b' .. variant) or ''
      rest, left = rest - #body, left - #body
      answer[#answer + 1] = variant
      answer[#answer + 1] = redis.call('HGET', key, field)
      answer[#answer + 1] = body
    elseif kind == 'u' then
      used = true
    end
  end
  if #answer == 4 and not used then note_use(key, answer[2]) end
  return answer
end

local function look(key, known, variant)
  local found = redis.pcall('HMGET', key, 'v', 'u' .. variant)
  if found.err then
    if string.find(found.err, 'WRONGTYPE', 1, true) then return 0 end  -- another's key has this name
    return redis.call('HMGET', key, 'v')  -- which fails
  end
  if not found[1] then return 0 end
  if found[1] ~= known then return whole(key, found[1]) end
  if variant ~= '' and not found[2] then note_use(key, variant) end
  return 1
end

local clock = redis.call('TIME')
local results = {tonumber(clock[1]) * 1000000 + tonumber(clock[2])}
for index, key in ipairs(KEYS) do
  if ARGV[2 * index] == 'probe' then
    local tried = redis.pcall('SET', key, 1, 'PX', 1000)
    if tried.err and string.find(tried.err, 'READONLY', 1, true) then return tried end
    results[index + 1] = 0
  else
    peeks = ARGV[2 * index] == 'peek'
    results[index + 1] = look(key, ARGV[2 * index - 1], peeks and '' or ARGV[2 * index])
  end
end
return results
