-- Remembers which instance issued a value, and finds it again.
--
-- KEYS  one for each value
-- ARGV  two for each key: the instance, or nothing where that is what is asked; for how many seconds it is remembered
--       from now on
--
-- Returns this server's time in microseconds, then for each key the instance, false where none is known, or the error
-- for which it could not be remembered.

local clock = redis.call('TIME')
local replies = {tonumber(clock[1]) * 1000000 + tonumber(clock[2])}
for index, key in ipairs(KEYS) do
  local instance, seconds = ARGV[2 * index - 1], ARGV[2 * index]
  if instance == '' then
    instance = redis.pcall('GET', key)
    if type(instance) == 'string' then
      redis.pcall('EXPIRE', key, seconds)
    else
      instance = false
    end
  else
    local stored = redis.pcall('SET', key, instance, 'EX', seconds)
    if stored.err then
      instance = stored
    end
  end
  replies[index + 1] = instance
end
return replies
