-- Changes what is stored under one key, and keeps its shard within its bytes. Keys of one shard are of one slot.
--
-- KEYS[1]  the hash of a key (see look.lua); its last 16 bytes are a digest, and what comes before is the shard's prefix
-- KEYS[2]  sizes: by variant its bytes, how many pieces its body has, and the name of its body; and counters
-- KEYS[3]  new: variants that were stored lately, in the order in which their turns to be evicted come
-- KEYS[4]  old: those that were served while they were new, in the same way
-- KEYS[5]  due: all variants, by the millisecond at which they expire
-- ARGV[1]  what is to be done; all that follows is said there
--
-- A variant is called by the digest of its key and 8 bytes; one whose body is not complete, by the digest and the name
-- of its body. The pieces of a body are strings under the hash's key, the body's name and a number.
--
-- What is new goes to `old` if it was served when its turn comes, else it is evicted; so is what is old.

local entry, sizes, new, old, due = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, digest = string.sub(entry, 1, -17), string.sub(entry, -16)

local NEW_SHARE = 0.3  -- of the shard's bytes
local PIECE_OVERHEAD = 150
local READ_ON = 30000  -- milliseconds for which pieces can still be read of a body that was replaced
local UNFINISHED = 60000  -- milliseconds after its last piece at which a body that is not complete is given up
local MOST_STEPS = 100
local LATER = 86400000  -- milliseconds

local clock = redis.call('TIME')
local micros = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local now = math.floor(micros / 1000)

local function text(number) return string.format('%d', number) end

local function count(name, amount) return redis.call('HINCRBY', sizes, name, text(amount)) end

local function version() return text(micros) end

local function known(member)
  local size, pieces, body = string.match(redis.call('HGET', sizes, member) or '', '^(%d+) (%d+) (.*)$')
  return tonumber(size), tonumber(pieces), body
end

local function note(member, size, pieces, body)
  redis.call('HSET', sizes, member, text(size) .. ' ' .. text(pieces) .. ' ' .. body)
end

-- Live at least this long: the hash, and the pieces of one of its bodies.
local function live(key, body, pieces, life)
  if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, text(life)) end
  for index = 0, pieces - 1 do redis.call('PEXPIRE', key .. body .. index, text(life)) end
end

local function expect(member, life) redis.call('ZADD', due, text(now + life), member) end

local function enqueue(queue, member)
  redis.call('ZADD', queue, count('#turns', 1), member)
end

-- Forget what is known of a variant; what is stored stays.
local function release(member, size)
  redis.call('HDEL', sizes, member)
  count('#bytes', -size)
  if redis.call('ZREM', new, member) == 1 then count('#new', -size) end
  redis.call('ZREM', old, member)
  redis.call('ZREM', due, member)
end

local function remove(member, is_replaced)
  local size, pieces, body = known(member)
  local key, variant = prefix .. string.sub(member, 1, 16), string.sub(member, 17)
  local was_seen = redis.call('HDEL', key, 'm' .. variant, 'b' .. variant, 'u' .. variant) > 0
  release(member, size or 0)
  for index = 0, (pieces or 0) - 1 do
    local piece = key .. body .. index
    if is_replaced and was_seen then redis.call('PEXPIRE', piece, READ_ON) else redis.call('UNLINK', piece) end
  end
  if was_seen then
    if redis.call('HLEN', key) > 1 then redis.call('HSET', key, 'v', version()) else redis.call('DEL', key) end
  end
end

local function take_turn(queue)
  local member = redis.call('ZRANGE', queue, 0, 0)[1]
  if not member then return end
  local used = redis.call('HDEL', prefix .. string.sub(member, 1, 16), 'u' .. string.sub(member, 17))
  if used == 0 then
    remove(member)
    count('#evictions', 1)
    return
  end
  if queue == new then
    redis.call('ZREM', new, member)
    count('#new', -(known(member) or 0))
  end
  enqueue(old, member)
end

local function make_room(most)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', text(now), 'LIMIT', 0, 16)) do remove(member) end
  for _ = 1, MOST_STEPS do
    local used = redis.call('HMGET', sizes, '#bytes', '#new')
    if (tonumber(used[1]) or 0) <= most then return end
    local has_new, has_old = redis.call('ZCARD', new) > 0, redis.call('ZCARD', old) > 0
    if not has_new and not has_old then  -- parts of what is known were lost
      redis.call('HDEL', sizes, '#bytes', '#new')
      return
    end
    local is_full = (tonumber(used[2]) or 0) > NEW_SHARE * most
    take_turn((is_full and has_new or not has_old) and new or old)
  end
end

-- What is known of the shard lives longer than what is in it.
local function live_longer(life)
  for index = 2, 5 do
    if redis.call('PTTL', KEYS[index]) < life then redis.call('PEXPIRE', KEYS[index], text(life + LATER)) end
  end
end

local acts = {}

-- A piece of a body that is not complete: body, index, bytes, life in ms, most bytes of the shard. 0: it was given up.
function acts.piece(body, index, data, life, most)
  local member = digest .. body
  local size, pieces = known(member)
  if (pieces or 0) ~= tonumber(index) then return 0 end
  local more = #data + PIECE_OVERHEAD
  redis.call('SET', entry .. body .. index, data, 'PX', text(life + UNFINISHED))
  note(member, (size or 0) + more, index + 1, body)
  count('#bytes', more)
  if not size then enqueue(new, member) end
  if not size or redis.call('ZSCORE', new, member) then count('#new', more) end
  expect(member, UNFINISHED)
  make_room(tonumber(most))
  live_longer(UNFINISHED)
  return redis.call('HEXISTS', sizes, member)
end

-- A variant: name, body, description, what is inline of its body, number of pieces, bytes, life in ms, most bytes of the
-- shard, then the names of variants that it replaces. 0: its pieces are not there any more.
function acts.put(variant, body, description, inline, pieces, size, life, most, ...)
  pieces, size = tonumber(pieces), tonumber(size)
  count('#bytes', 0)  -- a Redis that is full refuses this; behind a first write it would take more than it may
  if pieces > 0 then
    local written, there = known(digest .. body)
    if there ~= pieces then return 0 end
    size = size + written
    release(digest .. body, written)
  end
  if redis.call('TYPE', entry).ok ~= 'hash' then redis.call('DEL', entry) end
  for _, replaced in ipairs({variant, ...}) do remove(digest .. replaced, true) end
  redis.call('HSET', entry, 'v', version(), 'm' .. variant, description)
  if pieces == 0 then redis.call('HSET', entry, 'b' .. variant, inline) end
  live(entry, body, pieces, tonumber(life))
  local member = digest .. variant
  note(member, size, pieces, body)
  count('#bytes', size)
  count('#new', size)
  enqueue(new, member)
  expect(member, tonumber(life))
  make_room(tonumber(most))
  live_longer(tonumber(life))
  return 1
end

-- Another description of a variant whose body is still this one: name, body, description, life in ms. 0: it is not.
function acts.refresh(variant, body, description, life)
  local size, pieces, own = known(digest .. variant)
  if own ~= body or redis.call('HEXISTS', entry, 'm' .. variant) == 0 then return 0 end
  redis.call('HSET', entry, 'v', version(), 'm' .. variant, description)
  live(entry, body, pieces, tonumber(life))
  expect(digest .. variant, tonumber(life))
  live_longer(tonumber(life))
  return 1
end

-- Remove variants, or bodies that are not complete, by their names; all variants where there are none.
function acts.drop(...)
  local names = {...}
  if #names == 0 then
    for _, field in ipairs(redis.call('HKEYS', entry)) do
      if string.sub(field, 1, 1) == 'm' then names[#names + 1] = string.sub(field, 2) end
    end
  end
  for _, name in ipairs(names) do remove(digest .. name, true) end
  return #names
end

-- A piece of a body, or what is inline of it: variant, body, index.
function acts.read(variant, body, index)
  return redis.call('GET', entry .. body .. index) or redis.call('HGET', entry, 'b' .. variant)
end

-- Some variants of the shard: where to go on ("0" at first), about how many. Returns where to go on, then of each the
-- digest of its key, its name and its description.
function acts.page(cursor, most)
  local found = redis.call('HSCAN', sizes, cursor, 'COUNT', most)
  local answer = {found[1]}
  for index = 1, #found[2], 2 do
    local member = found[2][index]
    if #member == 24 then
      local variant = string.sub(member, 17)
      local description = redis.call('HGET', prefix .. string.sub(member, 1, 16), 'm' .. variant)
      if description then
        for _, part in ipairs({string.sub(member, 1, 16), variant, description}) do answer[#answer + 1] = part end
      end
    end
  end
  return answer
end

-- Bytes, variants and evictions of the shard.
function acts.usage()
  local counted = redis.call('HMGET', sizes, '#bytes', '#evictions')
  local variants = redis.call('ZCARD', new) + redis.call('ZCARD', old)
  return {tonumber(counted[1]) or 0, variants, tonumber(counted[2]) or 0}
end

return acts[ARGV[1]](unpack(ARGV, 2))
