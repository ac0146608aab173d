-- wrk script: sends the template named in its first argument, numbered from its second argument on,
-- and prints what was measured as one line of JSON.
local parts, number = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local template = file:read("*a")
  file:close()
  number = tonumber(args[2])
  local from = 1
  while true do
    local first, last = template:find("@SEQ@", from, true)
    if not first then break end
    parts[#parts + 1] = template:sub(from, first - 1)
    from = last + 1
  end
  parts[#parts + 1] = template:sub(from)
  assert(#parts > 1, "the template has a place for its number")
end

function request()
  number = number + 1
  return table.concat(parts, number)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d, "not_2xx": %d, "broken": %d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
