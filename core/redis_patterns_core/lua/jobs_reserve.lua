-- Give jobs to a worker, for as long as a lease runs. Before that: jobs that are due become ready, those whose worker did
-- not prolong its lease do so again, what is not to be kept any more is forgotten; so many of each at a time. See
-- jobs_settle, which forgets more where more is added.
--
-- KEYS[1]  sorted set: jobs that are ready, by their places; for these and what is known of a job see jobs_enqueue
-- KEYS[2]  sorted set: jobs that are for later, by when they are due (milliseconds since the epoch)
-- KEYS[3]  sorted set: jobs that somebody works on, by when their leases end
-- KEYS[4]  hash: payloads
-- KEYS[5]  hash: what is known of each
-- KEYS[6]  hash: ids by unique keys
-- KEYS[7]  sorted set: jobs that were done, by until when that is remembered
-- KEYS[8]  hash: the last number, whether it is paused, counts
-- KEYS[9]  list: one element wakes a worker
-- KEYS[10] sorted set: jobs that are dead, by when they died
-- KEYS[11] hash: the last errors of jobs
-- KEYS[12] hash: what each worker was given last: its token, until when that is kept (milliseconds since the epoch), and
--          the ids, each with its length
-- KEYS[13] hash: how far jobs have come
-- KEYS[14] hash: jobs that should be given up by who works on them
-- ARGV     how many at most (0 only what was given for this token, and nothing more will be), lease (milliseconds), a token
--          for this request, the worker, how many may be worked on at once (0 any number), how often a job may be lost, how
--          many are moved in one step, how many dead ones are kept, for how long (milliseconds)
-- Reply    {milliseconds until the next is due or a lease ends, or -1; 1 where none may be taken now; then for each job: id,
--          payload, fence, attempts, lost, enqueued at, priority}
local wanted, lease, token, worker = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local most_running, most_lost, step = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local keep_dead, keep_dead_for = tonumber(ARGV[8]), tonumber(ARGV[9])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
local function parts(record) return string.match(record, '^(%-?%d+)|(%d+)|(%d+)|(%d+)|([^|]*)|(%d+)|(%-?%d+)|(.*)$') end
local function count(what) redis.call('HINCRBY', KEYS[8], what, 1) end

local function end_work(id)
  redis.call('HDEL', KEYS[13], id)
  redis.call('HDEL', KEYS[14], id)
end

local function free(id, unique)
  if unique and unique ~= '' and redis.call('HGET', KEYS[6], unique) == id then redis.call('HDEL', KEYS[6], unique) end
end

local function forget(id)
  redis.call('HDEL', KEYS[4], id)
  redis.call('HDEL', KEYS[5], id)
  redis.call('HDEL', KEYS[11], id)
  end_work(id)
end

-- A record that cannot be read, as somebody has written it by other means: the job is dead, nothing of it is lost, and it
-- holds up nobody.
local function set_aside(id, record)
  local fence = string.match(record, '^[^|]*|%d+|%d+|(%d+)|') or 0
  redis.call('HSET', KEYS[5], id, table.concat({0, 0, 0, fence, '', whole(now), 0, ''}, '|'))
  redis.call('HSET', KEYS[11], id, 'what is known of it cannot be read: ' .. record)
  redis.call('ZADD', KEYS[10], whole(now), id)
  end_work(id)
  count('died')
end

local function reap()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now), 'LIMIT', 0, step)) do
    redis.call('ZREM', KEYS[2], id)
    local record = redis.call('HGET', KEYS[5], id)
    local _, attempts, lost, fence, held, enqueued, priority, unique = parts(record or '')
    if priority then
      local in_line = whole(priority * 8796093022208 + redis.call('HINCRBY', KEYS[8], 'number', 1))
      redis.call('HSET', KEYS[5], id, table.concat({in_line, attempts, lost, fence, held, enqueued, priority, unique}, '|'))
      redis.call('ZADD', KEYS[1], in_line, id)
    elseif record then
      set_aside(id, record)
    else
      forget(id)
      count('orphans')
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now), 'LIMIT', 0, step)) do
    redis.call('ZREM', KEYS[3], id)
    local record = redis.call('HGET', KEYS[5], id)
    local in_line, attempts, lost, fence, _, enqueued, priority, unique = parts(record or '')
    if in_line then
      lost = whole(lost + 1)
      count('lost')
      redis.call('HSET', KEYS[5], id, table.concat({in_line, attempts, lost, fence, '', enqueued, priority, unique}, '|'))
      if tonumber(lost) >= most_lost then
        redis.call('ZADD', KEYS[10], whole(now), id)
        redis.call('HSET', KEYS[11], id, 'lost ' .. lost .. ' times: its workers have not prolonged their leases')
        free(id, unique)
        end_work(id)
        count('died')
      else
        redis.call('ZADD', KEYS[1], in_line, id)
      end
    elseif record then
      set_aside(id, record)
    else
      forget(id)
      count('orphans')
    end
  end
  local over = math.min(step, redis.call('ZCOUNT', KEYS[7], '-inf', whole(now)))
  if over > 0 then redis.call('ZREMRANGEBYRANK', KEYS[7], 0, over - 1) end
  -- Those that are too many and those that are too old are both the oldest. Twice as many as may have died here.
  local old = redis.call('ZCOUNT', KEYS[10], '-inf', whole(now - keep_dead_for))
  over = math.min(2 * step, math.max(old, redis.call('ZCARD', KEYS[10]) - keep_dead))
  if over > 0 then
    local oldest = redis.call('ZPOPMIN', KEYS[10], over)
    for place = 1, #oldest, 2 do forget(oldest[place]) end
  end
end

local function next_in()
  local due = tonumber(redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2])
  local ends = tonumber(redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2])
  local first = due and ends and math.min(due, ends) or due or ends
  return first and math.max(0, first - now) or -1
end

local reply = {0, 0}
local function give(id, record)
  local _, attempts, lost, fence, _, enqueued, priority = parts(record)
  local payload = redis.call('HGET', KEYS[4], id)
  for _, item in ipairs({id, payload, tonumber(fence), tonumber(attempts), tonumber(lost), tonumber(enqueued), tonumber(priority)}) do
    reply[#reply + 1] = item
  end
end

local function note(ids)
  local keep = math.max(60000, lease)
  redis.call('HSET', KEYS[12], worker, token .. ' ' .. whole(now + keep) .. ' ' .. ids)
  redis.call('PEXPIRE', KEYS[12], whole(keep))
  -- Workers whose names never come again leave theirs: of two by chance, at each turn, so that it is not for ever.
  local some = redis.call('HRANDFIELD', KEYS[12], 2, 'WITHVALUES')
  for place = 1, #some, 2 do
    local ends = tonumber(string.match(some[place + 1], '^[^ ]* (%d+) '))
    if not ends or ends <= now then redis.call('HDEL', KEYS[12], some[place]) end
  end
end

-- Who asks again, because no answer came, gets what it was given, if nothing has become of it; and for a whole lease, as it
-- reckons from this request.
local asked = redis.call('HGET', KEYS[12], worker)
if asked and string.sub(asked, 1, #token + 1) == token .. ' ' then
  local place = (string.find(asked, ' ', #token + 2, true) or #asked) + 1
  while place <= #asked do
    local from, to, length = string.find(asked, '^(%d+):', place)
    local id = string.sub(asked, to + 1, to + length)
    place = to + 1 + length
    local record = redis.call('HGET', KEYS[5], id)
    if record then
      local _, _, _, _, held = parts(record)
      if held == token and redis.call('HEXISTS', KEYS[4], id) == 1 then
        redis.call('ZADD', KEYS[3], 'XX', whole(now + lease), id)
        give(id, record)
      end
    end
  end
  reply[1] = next_in()
  return reply
end

if wanted == 0 then
  -- The request itself may come yet, on a connection that was closed behind it: now it has had its answer.
  note('')
  return {next_in(), 0}
end

reap()
local room = wanted
if most_running > 0 then room = math.min(room, most_running - redis.call('ZCARD', KEYS[3])) end
if redis.call('HEXISTS', KEYS[8], 'paused') == 1 then room = 0 end
local given = ''
if room > 0 then
  local popped = redis.call('ZPOPMIN', KEYS[1], room)
  for place = 1, #popped, 2 do
    local id = popped[place]
    local record = redis.call('HGET', KEYS[5], id)
    local in_line, attempts, lost, fence, _, enqueued, priority, unique = parts(record or '')
    if in_line and redis.call('HEXISTS', KEYS[4], id) == 1 then
      fence = whole(fence + 1)
      record = table.concat({in_line, attempts, lost, fence, token, enqueued, priority, unique}, '|')
      redis.call('HSET', KEYS[5], id, record)
      redis.call('ZADD', KEYS[3], whole(now + lease), id)
      given = given .. #id .. ':' .. id
      give(id, record)
    elseif record and not in_line then
      set_aside(id, record)
    else
      free(id, unique)
      forget(id)
      count('orphans')
    end
  end
  if #popped > 0 then
    note(given)
    if redis.call('ZCARD', KEYS[1]) > 0 and room == wanted then
      if redis.call('LLEN', KEYS[9]) == 0 then redis.call('RPUSH', KEYS[9], 1) end
      redis.call('PEXPIRE', KEYS[9], 60000)
    end
  end
else
  reply[2] = 1
end
reply[1] = next_in()
return reply
