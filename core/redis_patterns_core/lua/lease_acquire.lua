-- Take a lease that several may hold or that is given in the order of arrival; else wait in line for it. Nobody overtakes
-- those who wait, so that neither a writer nor who wants much waits for ever; only who holds it already may come in again.
-- That the same member may ask again makes a repeated call succeed whose first answer was lost.
--
-- A member says what it wants: MODE WEIGHT:OWNER:TOKEN. Mode x wants it alone, s one of so many permits, w some permits.
-- Members of one owner, where there is one, hold it together.
--
-- KEYS[1]  sorted set: the members that hold it, by when their leases end (milliseconds since the epoch)
-- KEYS[2]  sorted set: the members in line, by arrival (microseconds since the epoch)
-- KEYS[3]  sorted set: the same by until when they are taken to be there (milliseconds since the epoch)
-- KEYS[4]  list: one element wakes the first in line
-- KEYS[5]  list: one element wakes who stands behind this member
-- KEYS[6]  string: the last fence, kept for a day after the last lease; only where mode x is in use
-- ARGV     member, lease (milliseconds), for how long it waits at most (milliseconds; 0 it does not), how many permits
-- Reply    {acquired 0|1, milliseconds until it is worth to look again, fence or 0, the member in front of it or ''}
local member, lease, wait, permits = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local microseconds = time[1] * 1e6 + time[2]
local now = math.floor(microseconds / 1000)
-- How long the first in line may take to come when it is its turn, and how often the second looks whether it does.
local come_within = 1000

local function whole(number) return string.format('%.0f', number) end
local function parts(of) return string.match(of, '^(%a)(%d+):([^:]*):') end

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now))) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
end

local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local head = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
local mode, weight, owner = parts(member)
local first_mode, _, first_owner = parts(first[1] or 'x0::')

local function fits(other)
  if not first[1] then return true end
  local its_mode, its_weight = parts(other)
  if its_mode == 'x' or first_mode == 'x' then return false end
  local used = 0
  if its_mode == 's' then
    used = redis.call('ZCARD', KEYS[1])
  else
    for _, holder in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
      local _, held = parts(holder)
      used = used + held
    end
  end
  return used + its_weight <= permits
end

local function wake(key)
  redis.call('DEL', key)
  redis.call('RPUSH', key, 1)
  redis.call('PEXPIRE', key, 15000)
end

local function leave()
  if redis.call('ZREM', KEYS[2], member) == 1 then
    redis.call('ZREM', KEYS[3], member)
    if redis.call('ZCARD', KEYS[2]) > 0 then wake(KEYS[5]) end
  end
end

local again = redis.call('ZSCORE', KEYS[1], member)
local within = first[1] and owner ~= '' and owner == first_owner
if not (again or within or ((not head or head == member) and fits(member))) then
  if head and head ~= member and fits(head) then
    -- It is the turn of the first, who should know; and if it is dead, it is not waited for long.
    if tonumber(redis.call('ZSCORE', KEYS[3], head)) > now + come_within then
      redis.call('ZADD', KEYS[3], whole(now + come_within), head)
    end
    wake(KEYS[4])
  end
  local look_in = first[2] and first[2] - now or come_within
  if wait <= 0 then
    leave()
    return {0, look_in, 0, ''}
  end
  if not redis.call('ZSCORE', KEYS[2], member) then
    local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
    redis.call('ZADD', KEYS[2], whole(math.max(microseconds, (tonumber(last) or 0) + 1)), member)
  end
  redis.call('ZADD', KEYS[3], whole(now + wait), member)
  for _, key in ipairs({KEYS[2], KEYS[3]}) do
    if redis.call('PTTL', key) < wait then redis.call('PEXPIRE', key, wait) end
  end
  local place = redis.call('ZRANK', KEYS[2], member)
  if place == 0 then
    return {0, look_in, 0, ''}
  end
  local in_front = redis.call('ZRANGE', KEYS[2], place - 1, place - 1)[1]
  look_in = redis.call('ZSCORE', KEYS[3], in_front) - now
  if place == 1 then look_in = math.min(look_in, come_within) end
  return {0, look_in, 0, in_front}
end

redis.call('ZADD', KEYS[1], whole(now + lease), member)
local longest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] - now
redis.call('PEXPIRE', KEYS[1], whole(longest))
-- A wake-up that nobody took is for nobody now: who is the first in line from here on is woken by its own list.
if not within then redis.call('DEL', KEYS[4]) end
leave()
if mode ~= 'x' then
  return {1, lease, 0, ''}
end
-- The time in microseconds, or one more than the last: it grows even where the last was lost, unless the clock stepped
-- back too.
local last = tonumber(redis.call('GET', KEYS[6])) or 0
local fence = (again or within) and last > 0 and last or math.max(last + 1, microseconds)
redis.call('SET', KEYS[6], whole(fence), 'PX', whole(longest + 86400000))
return {1, lease, fence, ''}
