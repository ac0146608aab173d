-- wrk script: sends the template named in its first argument, numbered from its second argument on and spread over as
-- many routes or URLs as the third says, each with the next of the tokens in the file that the fourth names (from the
-- fifth on), and prints what was measured as one line of JSON. Where the third is "drawn", the first names a file of
-- requests with a NUL between each and the next, of which it sends whichever chance has it.
local drawn
local parts, number, before, routes, tokens, token = {}, 0, nil, 0, nil, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local template = file:read("*a")
  file:close()
  if args[3] == "drawn" then return draw_from(template, tonumber(args[2])) end
  number, routes = tonumber(args[2]), tonumber(args[3])
  if routes > 0 then
    local first, last = template:find("@ROUTE@", 1, true)
    before, template = template:sub(1, first - 1), template:sub(last + 1)
  end
  local from = 1
  while true do
    local first, last = template:find("@SEQ@", from, true)
    if not first then break end
    parts[#parts + 1] = template:sub(from, first - 1)
    from = last + 1
  end
  parts[#parts + 1] = template:sub(from)
  assert(#parts > 1 or before, "the template has a place for its number")
  if args[4] then
    tokens, token = {}, tonumber(args[5])
    for line in io.lines(args[4]) do tokens[#tokens + 1] = line end
  end
end

function draw_from(requests, seed)
  drawn = {}
  math.randomseed(seed)
  local from = 1
  repeat
    local nul = requests:find("\0", from, true)
    drawn[#drawn + 1] = requests:sub(from, nul and nul - 1)
    from = nul and nul + 1
  until not nul
end

function request()
  if drawn then return drawn[math.random(#drawn)] end
  number = number + 1
  if tokens then
    token = token % #tokens + 1
    return (table.concat(parts, number):gsub("@TOKEN@", tokens[token], 1))
  end
  if not before then return table.concat(parts, number) end
  return before .. number % routes * 7919 % routes .. table.concat(parts, number) -- a prime: all of them, not in turn
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d, "not_2xx": %d, "broken": %d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
