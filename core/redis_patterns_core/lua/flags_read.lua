-- Read flags, and those that they require, and so on, in one consistent view.
--
-- KEYS[1]  hash: the flags by their names, as flags_put.lua has them
-- ARGV     names
-- Reply    {name, record, ...}, each that there is, once
local reply, line, seen, at = {}, {}, {}, 1
for place = 1, #ARGV do line[place] = ARGV[place] end
while line[at] do
  local name = line[at]
  local record = not seen[name] and redis.call('HGET', KEYS[1], name)
  seen[name] = true
  if record then
    reply[#reply + 1] = name
    reply[#reply + 1] = record
    local from = string.match(record, '^[fd]%d+:[^:]*:()')
    local length, start = string.match(record, '^(%d+):()', from)
    while length do
      from = start + length
      line[#line + 1] = string.sub(record, start, from - 1)
      length, start = string.match(record, '^(%d+):()', from)
    end
  end
  at = at + 1
end
return reply
