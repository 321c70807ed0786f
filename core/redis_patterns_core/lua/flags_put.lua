-- Write or delete a flag, if it is as its writer believes, and tell those who follow, in one step.
--
-- A flag is a text in KEYS[1]: f or d, VERSION:TOKENS:REQUIRED;PAYLOAD. Tokens are those of its last 16 writers, the
-- latest first, with commas between; required is LENGTH:NAME, for each flag that it requires. One that was deleted (d)
-- keeps its version, so that an older write cannot bring it back. The field without a name is the revision.
--
-- KEYS[1]  hash: the flags by their names
-- KEYS[2]  stream: what was changed, by revision: name, version, by, flag
-- ARGV     name, version that it must have or '' for any, the writer's token, by whom, how many changes are kept,
--          what it requires (LENGTH:NAME, each), payload or '' to delete it
-- Reply    {1, version, revision} done, or done before; {2, version} it has another version; {3} a flag that it requires
--          requires it; {4} there is nothing to delete
local name, expected, token, by, kept, required, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local function whole(number) return string.format('%.0f', number) end

local record = redis.call('HGET', KEYS[1], name)
local known_revision = tonumber(redis.call('HGET', KEYS[1], '')) or 0
local kind, version, tokens = 'd', 0, ''
if record then
  kind, version, tokens = string.match(record, '^([fd])(%d+):([^:]*):')
  version = tonumber(version)
end
-- An answer that was lost: it is done, whatever others have done since.
local all, count = token, 1
for known in string.gmatch(tokens, '[^,]+') do
  if known == token then
    return {1, version - count + 1, known_revision}
  end
  if count < 16 then all = all .. ',' .. known end
  count = count + 1
end
if expected ~= '' and tonumber(expected) ~= version then
  return {2, version}
end
if payload == '' and kind == 'd' then
  return {4}
end

-- All flags that it requires, and those that they require, each once.
local line, seen, at = {required}, {}, 1
while line[at] do
  local from = 1
  local length, start = string.match(line[at], '^(%d+):()', from)
  while length do
    from = start + length
    local other = string.sub(line[at], start, from - 1)
    if other == name then return {3} end
    if not seen[other] then
      seen[other] = true
      local theirs = redis.call('HGET', KEYS[1], other)
      if theirs then line[#line + 1] = string.match(theirs, '^[fd]%d+:[^:]*:(.*)') end
    end
    length, start = string.match(line[at], '^(%d+):()', from)
  end
  at = at + 1
end

local time = redis.call('TIME')
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
-- By the clock, so that a number never comes again with something else behind it, whatever a replica had not got.
local revision = math.max(
  time[1] * 1000 + math.floor(time[2] / 1000),
  known_revision + 1,
  (last and tonumber(string.match(last[1], '^%d+')) or 0) + 1
)
version = whole(version + 1)
local id = whole(revision) .. '-0'
redis.call('XADD', KEYS[2], 'MAXLEN', kept, id, 'name', name, 'version', version, 'by', by, 'flag', payload)
record = (payload == '' and 'd' or 'f') .. version .. ':' .. all .. ':' .. required .. ';' .. payload
redis.call('HSET', KEYS[1], name, record, '', whole(revision))
return {1, tonumber(version), revision}
