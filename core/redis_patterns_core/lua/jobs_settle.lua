-- Say what became of jobs: each only by who has it, which its token shows. Also notes how far one has come. One that
-- should be given up, and is to be tried again or given back, is cancelled.
--
-- KEYS[1]  sorted set: jobs that are ready, by their places; for these and what is known of a job see jobs_enqueue
-- KEYS[2]  sorted set: jobs that are for later, by when they are due (milliseconds since the epoch)
-- KEYS[3]  sorted set: jobs that somebody works on, by when their leases end
-- KEYS[4]  hash: payloads
-- KEYS[5]  hash: what is known of each; a token that begins with - has settled it
-- KEYS[6]  hash: ids by unique keys
-- KEYS[7]  sorted set: jobs that were done, by until when that is remembered
-- KEYS[8]  hash: whether it is paused, counts
-- KEYS[9]  list: one element wakes a worker
-- KEYS[10] sorted set: jobs that are dead, by when they died
-- KEYS[11] hash: the last errors of jobs
-- KEYS[12] hash: how far jobs have come
-- KEYS[13] hash: jobs that should be given up by who works on them
-- KEYS[..] lists: where results are kept, one for each of the jobs, or none
-- ARGV     for how long it is remembered what was done (milliseconds), for how long results are kept (0 they are not), how
--          many dead ones are kept, for how long (milliseconds), then for each: ack, retry, kill, release or note; id;
--          token; after how long it is tried again (milliseconds); result, error, or how far it has come
-- Reply    for each: 1 so it is, 2 so it was already, 0 it is not the caller's any more
local remember, keep_result = tonumber(ARGV[1]), tonumber(ARGV[2])
local keep_dead, keep_dead_for = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
local function parts(record) return string.match(record, '^(%-?%d+)|(%d+)|(%d+)|(%d+)|([^|]*)|(%d+)|(%-?%d+)|(.*)$') end
local function count(what) redis.call('HINCRBY', KEYS[8], what, 1) end

local function end_work(id)
  redis.call('HDEL', KEYS[12], id)
  redis.call('HDEL', KEYS[13], id)
end

local function forget(id)
  redis.call('HDEL', KEYS[4], id)
  redis.call('HDEL', KEYS[5], id)
  redis.call('HDEL', KEYS[11], id)
  end_work(id)
end

local function say(key, what, text)
  if key then
    redis.call('DEL', key)
    redis.call('RPUSH', key, what .. text)
    redis.call('PEXPIRE', key, whole(keep_result))
  end
end

local reply, first_due, number = {}, tonumber(redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]), 0
local sooner, freed, done, died = false, false, 0, 0
for place = 5, #ARGV, 5 do
  number = number + 1
  local verb, id, token, delay, text = ARGV[place], ARGV[place + 1], ARGV[place + 2], tonumber(ARGV[place + 3]), ARGV[place + 4]
  local key = keep_result > 0 and KEYS[13 + number]
  local record = redis.call('HGET', KEYS[5], id)
  local code = 0
  if not record then
    if verb == 'ack' and redis.call('ZSCORE', KEYS[7], id) then code = 2 end
  else
    local in_line, attempts, lost, fence, held, enqueued, priority, unique = parts(record)
    local function keep(mark)
      redis.call('HSET', KEYS[5], id, table.concat({in_line, attempts, lost, fence, mark .. held, enqueued, priority, unique}, '|'))
    end
    local function free()
      if unique ~= '' and redis.call('HGET', KEYS[6], unique) == id then redis.call('HDEL', KEYS[6], unique) end
    end
    if held == '-' .. token then
      code = verb == 'note' and 0 or 2 -- who has settled it has it no more
    elseif held == token and redis.call('ZSCORE', KEYS[3], id) then
      code = 1
      if verb == 'note' then
        redis.call('HSET', KEYS[12], id, text)
      else
        redis.call('ZREM', KEYS[3], id)
        freed = true
      end
      if (verb == 'retry' or verb == 'release') and redis.call('HEXISTS', KEYS[13], id) == 1 then
        -- Whoever has cancelled it was told that it would be given up; its worker did not get to know that in time.
        forget(id)
        free()
        count('cancelled')
      elseif verb == 'ack' then
        forget(id)
        free()
        if remember > 0 then redis.call('ZADD', KEYS[7], whole(now + remember), id) end
        done = done + 1
        count('acked')
        say(key, '+', text)
      elseif verb == 'retry' then
        attempts = whole(attempts + 1)
        keep('-')
        redis.call('HSET', KEYS[11], id, text)
        redis.call('ZADD', KEYS[2], whole(now + delay), id)
        sooner = sooner or not first_due or now + delay < first_due
        count('retried')
      elseif verb == 'kill' then
        attempts = whole(attempts + 1)
        keep('-')
        redis.call('HSET', KEYS[11], id, text)
        redis.call('ZADD', KEYS[10], whole(now), id)
        end_work(id)
        free()
        died = died + 1
        count('died')
        say(key, '-', text)
      elseif verb == 'release' then
        keep('-')
        redis.call('ZADD', KEYS[1], in_line, id)
      end
    end
  end
  reply[number] = code
end
-- Of what is not to be kept any more twice as many go as have come, so that there is a bound of it.
local over = done > 0 and math.min(2 * done, redis.call('ZCOUNT', KEYS[7], '-inf', whole(now))) or 0
if over > 0 then redis.call('ZREMRANGEBYRANK', KEYS[7], 0, over - 1) end
if died > 0 then
  local old = redis.call('ZCOUNT', KEYS[10], '-inf', whole(now - keep_dead_for))
  over = math.min(2 * died, math.max(old, redis.call('ZCARD', KEYS[10]) - keep_dead))
  local oldest = over > 0 and redis.call('ZPOPMIN', KEYS[10], over) or {}
  for place = 1, #oldest, 2 do forget(oldest[place]) end
end
if remember > 0 and redis.call('PTTL', KEYS[7]) < remember then redis.call('PEXPIRE', KEYS[7], whole(2 * remember)) end
if (sooner or freed and redis.call('ZCARD', KEYS[1]) > 0) and redis.call('HEXISTS', KEYS[8], 'paused') == 0 then
  if redis.call('LLEN', KEYS[9]) == 0 then redis.call('RPUSH', KEYS[9], 1) end
  redis.call('PEXPIRE', KEYS[9], 60000)
end
return reply
