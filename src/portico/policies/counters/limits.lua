-- Takes from the limits of several requests, for each request from all of its limits or from none; what is paid after
-- the fact is only looked at then, and charged later.
--
-- KEYS  what is remembered of one limit each; those of one request stand next to each other
-- ARGV  three for each key: how many requests it allows; how often, as tokens that come back in a microsecond or
--       as a calendar period (UTC); "+" where the next key belongs to the same request, else ".", and before that
--       nothing to take one, "0" to take none but ask for one, or how many are charged, whether they are there or not
--
-- Returns the time in microseconds, then for each key what is left, or minus the microseconds until there is
-- something again. The time is this server's: the clocks of those who ask have no part in it.

local clock = redis.call('TIME')
local seconds = tonumber(clock[1])
local now = seconds * 1000000 + tonumber(clock[2])
local LONGEST = 1e14  -- microseconds, three years

-- Months since the year 0, and the days from 1970 to the first of such a month (Hinnant, chrono-compatible dates).
local function month_of(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local mp = math.floor((5 * (doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))) + 2) / 153)
  return (yoe + era * 400) * 12 + mp + 2  -- March is the first month of its years
end

local function first_day(month)
  local shifted = month - 2
  local year = math.floor(shifted / 12)
  local yoe = year % 400
  local doy = math.floor((153 * (shifted % 12) + 2) / 5)
  local doe = yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy
  return math.floor(year / 400) * 146097 + doe - 719468
end

-- The number of the period that it is now, and the second in which the next begins.
local periods = {
  hour = function() local n = math.floor(seconds / 3600); return n, (n + 1) * 3600 end,
  day = function() local n = math.floor(seconds / 86400); return n, (n + 1) * 86400 end,
  month = function()
    local n = month_of(math.floor(seconds / 86400))
    return n, first_day(n + 1) * 86400
  end,
}

local function remembered(key)
  local value = redis.pcall('GET', key)
  if type(value) ~= 'string' then return nil end
  local first, second = string.match(value, '^(%S+) (%S+)$')
  return tonumber(first), tonumber(second)
end

-- What is left once that many more are taken, or minus the wait; then what to remember, and for how many milliseconds.
-- Nothing is taken where `amount` is 0; where it is nil one is, and what is remembered is no emptier than empty.
local function look(key, allowed, rate, amount)
  local used, moment = remembered(key)
  local wanted = (amount or 1) == 0 and 1 or 0
  if periods[rate] then
    local period, next_begins = periods[rate]()
    if moment ~= period then used = 0 end
    used = used + (amount or 1)
    local wait = next_begins * 1000000 - now
    local life = math.ceil(wait / 1000) + 1000
    if used + wanted > allowed then
      return -math.max(1, wait), string.format('%.0f %.0f', used, period), life
    end
    return allowed - used, string.format('%.0f %.0f', used, period), life
  end
  rate = tonumber(rate)
  used = used and moment and used or 0
  if not amount then used = math.min(used, allowed) end  -- a burst that was lowered: no emptier than empty
  local debt = math.max(0, used - math.max(0, now - (moment or now)) * rate) + (amount or 1)
  local full_in = math.min(LONGEST, debt / rate)
  local value, life = string.format('%.17g %.0f', debt, now), math.ceil(full_in / 1000) + 1000
  if debt + wanted > allowed + 1e-6 then
    return -math.ceil(math.min(LONGEST, math.max(1, (debt + wanted - allowed) / rate))), value, life
  end
  return math.max(0, math.floor(allowed - debt + 1e-3)), value, life
end

local results, values, lives = {now}, {}, {}
local first = 1
while first <= #KEYS do
  local last, admitted, amounts = first, true, {}
  while string.sub(ARGV[3 * last], -1) == '+' do last = last + 1 end
  for index = first, last do
    amounts[index] = tonumber(string.sub(ARGV[3 * index], 1, -2))
    results[index + 1], values[index], lives[index] =
      look(KEYS[index], tonumber(ARGV[3 * index - 2]), ARGV[3 * index - 1], amounts[index])
    admitted = admitted and (results[index + 1] >= 0 or (amounts[index] or 0) > 0)
  end
  for index = first, last do
    if admitted and amounts[index] ~= 0 then redis.call('SET', KEYS[index], values[index], 'PX', string.format('%.0f', lives[index])) end
  end
  first = last + 1
end
return results
