-- Do something with a session that is alive: read it, change some of its fields, give it another secret; whatever it is,
-- it counts as an access. A session that is over is never brought back.
--
-- Fields of the hash: c when it was created, t when it was last accessed, r when its secret was made (milliseconds since
-- the epoch), u its user or '', k the hash of its secret, p that of the one before, g until when that one is good (not
-- there until the new one was seen), s that of one that is good no more, v how often it was changed, d its device, .NAME
-- what it holds. Without c but with m: it was left for another session, and this was the hash of its secret.
--
-- KEYS[1]  hash: the session
-- KEYS[2]  sorted set: its user's sessions, by when they end (milliseconds since the epoch)
-- ARGV     the hash of the secret that was shown, or '' by who has read it before, the session's member in KEYS[2], for
--          how long it lives without an access and at all, how often an access is noted, for how long a replaced secret
--          stays good (all milliseconds), 1 to read it, the version it must have or '', the hash of a new secret or '', 1 where the old one stays good for a
--          while, how many fields are set, their names and values, the names of those that are removed
-- Reply    {0} there is none; {2} the secret was replaced lately; {3} it has another version;
--          {1, now, when it ends unless it is accessed, version, 1 where it has the new secret, its fields where wanted}
local shown, member, idle, absolute = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local note_every, grace, new, count = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[9], tonumber(ARGV[11])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end

local found = redis.call('HMGET', KEYS[1], 'c', 't', 'u', 'k', 'p', 'g', 'r', 'v', 's', 'm')
local created, secret, before, good_until = tonumber(found[1]), found[4], found[5], tonumber(found[6])
if not created then return {found[10] and (shown == '' or found[10] == shown) and 2 or 0} end
-- Who made the new secret has it already: it asks again, because no answer came.
local again = new ~= '' and secret == new
local current = secret == shown or again or shown == ''
if not current and (before ~= shown or good_until and now >= good_until) then
  return {(before == shown or found[9] == shown) and 2 or 0}
end
local ends = math.min(found[2] + idle, created + absolute)
if now >= ends or (found[3] ~= '' and not redis.call('ZSCORE', KEYS[2], member)) then
  redis.call('UNLINK', KEYS[1])
  redis.call('ZREM', KEYS[2], member)
  return {0}
end

local version = tonumber(found[8])
if ARGV[8] ~= '' and tonumber(ARGV[8]) ~= version then return {3} end
for place = 12, 11 + 2 * count, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
for place = 12 + 2 * count, #ARGV do redis.call('HDEL', KEYS[1], ARGV[place]) end
if #ARGV > 11 then
  version = version + 1
  redis.call('HSET', KEYS[1], 'v', whole(version))
end

local renewed = again
if new ~= '' and not again then
  if ARGV[10] ~= '1' then
    redis.call('HSET', KEYS[1], 'k', new, 'r', whole(now), 's', shown)
    redis.call('HDEL', KEYS[1], 'p', 'g')
    renewed = true
  elseif current then
    redis.call('HSET', KEYS[1], 'k', new, 'r', whole(now), 'p', shown)
    redis.call('HDEL', KEYS[1], 'g')
    renewed = true
  elseif not good_until and now - found[7] >= grace then
    -- The answer with the last one never came to its client.
    redis.call('HSET', KEYS[1], 'k', new, 'r', whole(now))
    renewed = true
  end
elseif secret == shown and before and not good_until then
  redis.call('HSET', KEYS[1], 'g', whole(now + grace))
end

if now - found[2] >= note_every then
  ends = math.min(now + idle, created + absolute)
  redis.call('HSET', KEYS[1], 't', whole(now))
  redis.call('PEXPIREAT', KEYS[1], whole(ends))
  if found[3] ~= '' then
    redis.call('ZADD', KEYS[2], whole(ends), member)
    if redis.call('PTTL', KEYS[2]) < ends - now then redis.call('PEXPIREAT', KEYS[2], whole(ends)) end
  end
end
local reply = {1, now, ends, version, renewed and 1 or 0}
if ARGV[7] == '1' then reply[6] = redis.call('HGETALL', KEYS[1]) end
return reply
