-- Write members' scores, or take members off the board; what its ranks are read from changes in the same step.
--
-- Where who came first is ahead, KEYS[3] has the order: each member as 16 digits and its name, so that Redis, which orders
-- equal scores by bytes, has them by when the score was reached. The digits count down where the highest score is the
-- first, as the set is read from its end then.
--
-- What is beside the board lives as long as the board does, also where the board's TTL is from a merge: a new entry is
-- written before the old one is removed, as a key that loses its last entry loses its TTL with it.
--
-- KEYS[1]  sorted set: the board
-- KEYS[2]  sorted set: its distinct scores, where ranks are dense
-- KEYS[3]  sorted set: its members behind their digits, where who came first is ahead
-- KEYS[4]  hash: the digits by member, and under '' the number of the last that were given
-- KEYS[5]  hash: members' data
-- ARGV     'set', 'best', 'increment' or 'remove'; 'highest' or 'lowest'; 'ordinal', 'competition' or 'dense'; 1 where who
--          came first is ahead; how many members there may be (0 any number); when the board expires (milliseconds since
--          the epoch, 0 never); then for each member, each once: its name, its score or what to add
-- Reply    how many were removed; else for each, in one list: its score before or nil, its score now, its rank, 0 where that
--          is not good enough to stay; or, with nothing written: -1 the board has expired, -2 a sum would not be exact,
--          -3 it would be no number
local call, abs, huge = redis.call, math.abs, math.huge
local mode, highest, ties, first_come = ARGV[1], ARGV[2] == 'highest', ARGV[3], ARGV[4] == '1'
local most, expires, now = tonumber(ARGV[5]), tonumber(ARGV[6]), 0

local function double(text)
  if text == 'inf' then return huge end
  if text == '-inf' then return -huge end
  return text + 0.0
end

-- From 2^53 on a sum is taken only where nothing is lost: what rounding took away is found as Knuth's TwoSum does it.
local function problem(a, b)
  local sum = a + b
  if sum ~= sum then return -3 end
  if abs(sum) < 9007199254740992 or abs(a) == huge or abs(b) == huge then return nil end
  local part = sum - a
  if (a - (sum - part)) + (b - part) ~= 0 then return -2 end
  return nil
end

local function moved(member, old, new)
  if ties == 'dense' then
    if new and call('ZCOUNT', KEYS[2], new, new) == 0 then call('ZADD', KEYS[2], new, new) end
    if old and call('ZCOUNT', KEYS[1], old, old) == 0 then call('ZREMRANGEBYSCORE', KEYS[2], old, old) end
  end
  if first_come then
    local before = call('HGET', KEYS[4], member)
    if new then
      local number = call('HINCRBY', KEYS[4], '', 1)
      if highest then number = 9007199254740992 - number end
      local digits = string.format('%016.0f', number)
      call('HSET', KEYS[4], member, digits)
      call('ZADD', KEYS[3], new, digits .. member)
    else
      call('HDEL', KEYS[4], member)
    end
    if before then call('ZREM', KEYS[3], before .. member) end
  end
end

local function remove(member, old)
  call('ZREM', KEYS[1], member)
  call('HDEL', KEYS[5], member)
  moved(member, old, false)
end

local function rank(member, score)
  local key, name = KEYS[1], member
  if ties == 'ordinal' then
    if first_come then key, name = KEYS[3], call('HGET', KEYS[4], member) .. member end
    return (highest and call('ZREVRANK', key, name) or call('ZRANK', key, name)) + 1
  end
  if ties == 'dense' then key = KEYS[2] end
  if highest then return call('ZCOUNT', key, '(' .. score, '+inf') + 1 end
  return call('ZCOUNT', key, '-inf', '(' .. score) + 1
end

if expires > 0 then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
  if expires <= now then return -1 end
end
if mode == 'increment' then
  for place = 7, #ARGV, 2 do
    local found = problem(double(call('ZSCORE', KEYS[1], ARGV[place]) or '0'), double(ARGV[place + 1]))
    if found then return found end
  end
end

-- Beside a board that is gone there is nothing: what a millisecond more of TTL has left there is of the one before.
if call('EXISTS', KEYS[1]) == 0 then call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5]) end

local reply, removed = {}, 0
for place = 7, #ARGV, 2 do
  local member, score = ARGV[place], ARGV[place + 1]
  local old = call('ZSCORE', KEYS[1], member)
  if mode == 'remove' then
    if old then
      remove(member, old)
      removed = removed + 1
    end
  else
    if mode == 'increment' then
      call('ZINCRBY', KEYS[1], score, member)
    elseif mode == 'best' then
      call('ZADD', KEYS[1], highest and 'GT' or 'LT', score, member)
    else
      call('ZADD', KEYS[1], score, member)
    end
    local new = call('ZSCORE', KEYS[1], member)
    if new ~= old then moved(member, old, new) end
    reply[#reply + 1] = old
    reply[#reply + 1] = new
    reply[#reply + 1] = 0
  end
end

if most > 0 then
  -- Where the board was allowed more until now, the next writes take away the rest.
  local key, excess = first_come and KEYS[3] or KEYS[1], math.min(call('ZCARD', KEYS[1]) - most, 2000)
  if excess > 0 then
    local worst = highest and call('ZRANGE', key, 0, excess - 1) or call('ZREVRANGE', key, 0, excess - 1)
    for _, name in ipairs(worst) do
      local member = first_come and string.sub(name, 17) or name
      remove(member, call('ZSCORE', KEYS[1], member))
    end
  end
end
if first_come and call('EXISTS', KEYS[1]) == 0 then call('DEL', KEYS[4]) end
if expires > 0 then
  for _, key in ipairs(KEYS) do
    local left = call('PTTL', key)
    if left == -1 or left >= 0 and now + left < expires then call('PEXPIREAT', key, string.format('%.0f', expires)) end
  end
else
  local left = call('PTTL', KEYS[1])
  if left > 0 then
    for _, key in ipairs(KEYS) do
      if call('PTTL', key) == -1 then call('PEXPIRE', key, left) end
    end
  end
end

if mode == 'remove' then return removed end

-- Ranks are those behind all of the writes.
for place = 7, #ARGV, 2 do
  local at = (place - 7) / 2 * 3 + 3
  local new = reply[at - 1]
  if most > 0 then new = call('ZSCORE', KEYS[1], ARGV[place]) end
  if new then reply[at] = rank(ARGV[place], new) end
end
return reply
